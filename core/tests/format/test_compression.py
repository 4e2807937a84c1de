"""zstd frames: round trips at each level, and bounds that damaged or hostile frames cannot break."""

from __future__ import annotations

import resource

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from limpet.errors import IntegrityError
from limpet.format.compression import Compressor, Decompressor, Level
from limpet.format.pack import BlobKind

levels = st.sampled_from(Level)
contents = st.binary(max_size=500) | st.builds(
    lambda piece, times: piece * times, st.binary(max_size=9), st.integers(0, 50_000)
)


@given(contents, levels)
def test_decompress_undoes_compress(content: bytes, level: Level) -> None:
    """Data that does not decompress to itself is lost."""
    frame = Compressor(level).compress(content)
    assert Decompressor().decompress(frame, len(content)) == content
    assert Decompressor().decompress(memoryview(frame), len(content)) == content
    assert Decompressor().decompress_unknown(frame, len(content)) == content


@given(contents)
def test_frames_without_size_are_read(content: bytes) -> None:
    """Other programs stream their frames and leave the size out; their repositories must be readable."""
    stream = zstandard.ZstdCompressor(level=1).compressobj()
    frame = stream.compress(content) + stream.flush()
    assert Decompressor().decompress(frame, len(content)) == content
    assert Decompressor().decompress_unknown(frame, max(1, len(content))) == content


@pytest.mark.parametrize("level", Level)
def test_frames_state_their_size_and_carry_no_checksum(level: Level) -> None:
    """restic allocates by the stated size; a checksum would be four wasted bytes in each blob."""
    parameters = zstandard.get_frame_parameters(Compressor(level).compress(b"x" * 1000))
    assert (parameters.content_size, parameters.has_checksum) == (1000, False)


def test_higher_levels_compress_better() -> None:
    """`--compression max` that did not would cost time for nothing."""
    # Words in a seeded order: text-like, so that levels differ.
    words = [f"word{number * number % 1009:x}" for number in range(1009)]
    text = " ".join(words[number * 7919 % 1009] + words[number * number % 1009] for number in range(60_000)).encode()
    sizes = [len(Compressor(level).compress(text)) for level in (Level.FASTEST, Level.AUTO, Level.BETTER, Level.MAX)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def test_off_is_about_data() -> None:
    """restic compresses trees with `--compression off` all the same; without it they would take five times the room."""
    compressed = {(level, kind) for level in Level for kind in BlobKind if level.compresses(kind)}
    assert {(level, kind) for level in Level for kind in BlobKind} - compressed == {(Level.OFF, BlobKind.DATA)}


@given(contents, levels, st.integers(-3, 3).filter(bool))
def test_wrong_length_is_noticed(content: bytes, level: Level, wrong_by: int) -> None:
    """The length in index and header decides what a file is put together from."""
    length = max(0, len(content) + wrong_by)
    stream = zstandard.ZstdCompressor(level=1).compressobj()
    if length == len(content):
        return
    for frame in (Compressor(level).compress(content), stream.compress(content) + stream.flush()):
        with pytest.raises(IntegrityError):
            Decompressor().decompress(frame, length)


@given(contents, st.binary(min_size=1, max_size=20))
def test_exactly_one_frame(content: bytes, rest: bytes) -> None:
    """Bytes behind the frame mean that something else was stored than what was meant."""
    frame = Compressor(Level.AUTO).compress(content)
    for data in (frame + rest, frame + frame, b"\x50\x2a\x4d\x18\x00\x00\x00\x00" + frame, b""):
        with pytest.raises(IntegrityError):
            Decompressor().decompress(data, len(content))
        with pytest.raises(IntegrityError):
            Decompressor().decompress_unknown(data, 10**6)


def test_bombs_meet_the_limit() -> None:
    """A hostile index of some kilobytes must not fill the memory."""
    content = bytes(64 * 1024 * 1024)
    stream = zstandard.ZstdCompressor(level=1).compressobj()
    for frame in (Compressor(Level.AUTO).compress(content), stream.compress(content) + stream.flush()):
        with pytest.raises(IntegrityError, match="1000000"):
            Decompressor().decompress_unknown(frame, 1_000_000)


def test_claimed_lengths_are_not_allocated() -> None:
    """A damaged length of gigabytes must not allocate them before it is found wrong."""
    stream = zstandard.ZstdCompressor(level=1).compressobj()
    frame = stream.compress(b"small") + stream.flush()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(IntegrityError):
        Decompressor().decompress(frame, 4 * 1024**3)
    with pytest.raises(IntegrityError):
        Decompressor().decompress(Compressor(Level.AUTO).compress(b"small"), 4 * 1024**3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


def test_huge_windows_are_refused() -> None:
    """A frame of a few bytes may ask for a window of terabytes."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\xff" + b"\x01\x00\x00"  # no size, the largest window, one empty block
    with pytest.raises(IntegrityError):
        Decompressor().decompress_unknown(frame, 10**6)

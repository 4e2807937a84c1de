"""The way back: only what differs is written, zeros become holes, and nothing that is in use is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limpet.contracts.destination import DestinationRequest, Piece, StoredFile
from limpet.errors import DestinationError, IntegrityError, UsageError
from limpet.progress import SilentReporter
from limpet_source_device import DeviceDestination

from tests.services.loop_device import MIB, LoopDevice, run

PAGE = 4096


class Noting(SilentReporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str, *, verbosity: int = 1) -> None:
        """Keep it."""
        self.notes.append(text)


def stored(content: bytes, *, piece_bytes: int = MIB, with_holes: bool = True) -> StoredFile:
    """A file of a snapshot, with runs of zeros as such."""

    def pieces() -> Iterator[Piece]:
        for begin in range(0, len(content), piece_bytes):
            data = content[begin : begin + piece_bytes]
            is_hole = with_holes and not data.strip(b"\0")
            yield Piece(len(data), None if is_hole else memoryview(data))

    return StoredFile("/device/dev/x", len(content), pieces)


def restore(file: StoredFile, path: Path, *, verify: bool = True, own_places: tuple[str, ...] = ()) -> str:
    """Restore it as the core does; what was told."""
    reporter = Noting()
    destination = DeviceDestination.open(
        DestinationRequest(str(path), {"verify": verify}, reporter, own_places=own_places)
    )
    try:
        assert destination.wanted([file.path]) == [file.path]
        destination.receive(file)
        destination.finish()
    finally:
        destination.close()
    return " ".join(reporter.notes)


def allocated(path: Path) -> int:
    """Bytes that an image takes on the disk."""
    return path.stat().st_blocks * 512


@pytest.mark.parametrize("size", [0, 1, 511, PAGE, 512 * 1024, 3 * MIB + 12345])
@pytest.mark.parametrize("with_holes", [True, False])
def test_a_new_image(tmp_path: Path, size: int, with_holes: bool) -> None:
    """Whatever its size, bit for bit."""
    content = os.urandom(size)
    image = tmp_path / "copy.img"
    restore(stored(content, with_holes=with_holes), image)
    assert image.read_bytes() == content
    assert image.stat().st_mode & 0o777 == 0o600, "it holds files that others must not read"


@pytest.mark.parametrize("with_holes", [True, False])
def test_zeros_take_no_place(tmp_path: Path, with_holes: bool) -> None:
    """An image of a terabyte with little in it has to fit on the disk it came from."""
    content = bytes(20 * MIB) + b"x" * PAGE + bytes(20 * MIB + 100)
    image = tmp_path / "copy.img"
    restore(stored(content, with_holes=with_holes), image)
    assert image.read_bytes() == content
    assert allocated(image) <= MIB
    # Over an image of the same size that is full, too.
    image.write_bytes(os.urandom(len(content)))
    restore(stored(content, with_holes=with_holes), image)
    assert image.read_bytes() == content
    assert allocated(image) <= MIB


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.tuples(st.integers(0, 3 * MIB), st.integers(0, 3 * MIB)),
    parts=st.lists(st.tuples(st.integers(0, 3 * MIB), st.integers(1, 300_000), st.booleans()), max_size=5),
    seed=st.binary(min_size=1, max_size=3),
)
def test_any_content_over_any_other(
    tmp_path: Path, sizes: tuple[int, int], parts: list[tuple[int, int, bool]], seed: bytes
) -> None:
    """A byte that was not written because it was thought to be there already is damage."""
    old = bytearray((seed * (sizes[0] // len(seed) + 1))[: sizes[0]])
    new = bytearray((seed * (sizes[1] // len(seed) + 1))[: sizes[1]])
    for offset, length, is_zero in parts:
        end = min(offset + length, len(new))
        if offset < end:
            new[offset:end] = bytes(end - offset) if is_zero else b"z" * (end - offset)
    image = tmp_path / "copy.img"
    image.write_bytes(old)
    restore(stored(bytes(new), piece_bytes=700_001), image)
    assert image.read_bytes() == bytes(new)


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    """A thin volume or a solid-state disk must not be filled by a restore that changes a page."""
    content = bytearray(os.urandom(8 * MIB))
    image = tmp_path / "copy.img"
    image.write_bytes(content)
    assert f": 0 of {8 * MIB} bytes differed" in restore(stored(bytes(content)), image)
    content[5 * MIB + 17] ^= 1
    assert f": {PAGE} of {8 * MIB} bytes differed" in restore(stored(bytes(content)), image)
    assert image.read_bytes() == bytes(content)


def test_a_device(tmp_path: Path) -> None:
    """A larger device keeps what is behind the image; a smaller one is refused before a byte is written."""
    with LoopDevice(tmp_path / "device.img", 6 * MIB) as loop:
        before = os.urandom(6 * MIB)
        loop.path.write_bytes(before)
        content = before[:MIB] + bytes(2 * MIB) + os.urandom(MIB + 512)
        said = restore(stored(content), loop.path)
        assert f"{len(content)} bytes differed" in said
        assert "compared" in said
        after = loop.path.read_bytes()
        assert after[: len(content)] == content
        assert after[len(content) :] == before[len(content) :]
        with pytest.raises(DestinationError, match=r"too few .* nothing was written"):
            restore(stored(os.urandom(6 * MIB + 1)), loop.path)
        assert loop.path.read_bytes() == after


def test_what_is_in_use_is_not_written_to(tmp_path: Path) -> None:
    """A restore over a mounted file system destroys it."""
    image = tmp_path / "device.img"
    file = stored(os.urandom(MIB))
    with LoopDevice(image, 20 * MIB) as loop:
        loop.make("ext4")
        with pytest.raises(UsageError, match="loop device"):
            restore(file, image)
        for options in ("rw", "ro"):
            loop.mount(tmp_path / "mounted", options)
            with pytest.raises(UsageError, match=f"in use: mounted at {tmp_path}/mounted"):
                restore(file, loop.path)
            loop.unmount()
        run("fsck.ext4", "-f", "-n", loop.path)


def test_an_image_that_somebody_writes_to(tmp_path: Path) -> None:
    """A virtual machine that runs on it."""
    image = tmp_path / "vm.img"
    image.write_bytes(b"x" * PAGE)
    with image.open("r+b"), pytest.raises(UsageError, match="open for writing"):
        restore(stored(b"y" * PAGE), image)
    assert image.read_bytes() == b"x" * PAGE


def test_the_repository_is_not_written_over(tmp_path: Path) -> None:
    """It is what the content comes from."""
    (tmp_path / "repository/data").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "repository")
    for path in (tmp_path / "repository/data/x", tmp_path / "link/config"):
        with pytest.raises(UsageError, match="which this restore itself uses"):
            restore(stored(b"x"), path, own_places=(str(tmp_path / "repository"),))
    with LoopDevice(tmp_path / "device.img", 20 * MIB) as loop:
        point = loop.make("ext4").mount(tmp_path / "mounted")
        with pytest.raises(UsageError, match="which this restore itself uses"):
            restore(stored(b"x"), loop.path, own_places=(str(point),))


@pytest.mark.parametrize("place", ["/dev/no-such-device", "/no-such-folder/x.img", "/proc", "/dev/null"])
def test_places_that_are_none(place: str) -> None:
    """A typing error in a device's name must not make a file in /dev."""
    with pytest.raises(UsageError, match=place.rpartition("/")[2] if place != "/no-such-folder/x.img" else "folder"):
        restore(stored(b"x"), Path(place))
    assert place in {"/proc", "/dev/null"} or not os.path.exists(place)


def test_what_the_repository_lost(tmp_path: Path) -> None:
    """Its error must come through, and a short file is none."""

    def broken() -> Iterator[Piece]:
        yield Piece(3, b"abc")
        raise IntegrityError("damaged")

    with pytest.raises(IntegrityError, match="damaged"):
        restore(StoredFile("/device/x", 6, broken), tmp_path / "copy.img")
    with pytest.raises(DestinationError, match="3 bytes came out"):
        restore(StoredFile("/device/x", 6, lambda: iter([Piece(3, b"abc")])), tmp_path / "copy.img")


def test_verify_finds_what_was_not_kept(tmp_path: Path) -> None:
    """It is asked for where the disk is not trusted: somebody else's bytes in it must be found."""
    content = os.urandom(2 * MIB)
    image = tmp_path / "copy.img"
    calls = 0

    def pieces() -> Iterator[Piece]:
        nonlocal calls
        calls += 1
        if calls == 2:  # it is read again: meanwhile the disk forgot a byte
            with image.open("r+b") as file:
                file.seek(MIB + 5)
                file.write(bytes([content[MIB + 5] ^ 1]))
        yield Piece(len(content), content)

    with pytest.raises(DestinationError, match="does not hold what was written to it"):
        restore(StoredFile("/device/x", len(content), pieces), image)


def test_the_file_of_this_device_is_chosen(tmp_path: Path) -> None:
    """A snapshot of several devices: each goes back where it came from."""
    destination = DeviceDestination.open(DestinationRequest(str(tmp_path / "a.img")))
    own, other = f"/device{tmp_path}/a.img", "/device/dev/sdb"
    assert destination.wanted([other, own]) == [own]
    assert destination.wanted([other]) == [other]
    with pytest.raises(UsageError, match="more than one"):
        destination.wanted([other, "/device/dev/sdc"])
    destination.close()

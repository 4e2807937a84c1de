"""zstd as restic uses it: levels by restic's names, one frame a blob, bounded memory when decompressing."""

from __future__ import annotations

from enum import Enum

import zstandard

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.pack import BlobKind


class Level(Enum):
    """How hard to compress; the value is restic's word for `--compression`."""

    AUTO = "auto"
    OFF = "off"
    FASTEST = "fastest"
    BETTER = "better"
    MAX = "max"

    def compresses(self, kind: BlobKind) -> bool:
        """Whether blobs of the kind are compressed, in version 2; OFF leaves out data only.

        restic stores what does not shrink compressed as well; so does Limpet.
        """
        return self is not Level.OFF or kind is BlobKind.TREE


# restic has klauspost/compress, whose four speeds stand for the levels 1, 3, 7 to 8 and 11 of zstd. With zstd itself
# the same levels give less (measured on blobs of 1 MiB of Python source / of an executable, in per cent of their size):
# fastest 25/46 (restic 29/61), auto 23/41 (27/58), better 20/39 (26/57), max 20/38 (24/54). Levels above 12 take three
# to ten times as long for 1 to 5 points more.
_ZSTD_LEVELS = {
    Level.FASTEST: 1,
    Level.AUTO: 3,
    # OFF is about data blobs only: what is compressed all the same (trees, indexes, ...) gets the default.
    Level.OFF: 3,
    Level.BETTER: 7,
    Level.MAX: 12,
}

MAX_WINDOW_BYTES = 128 * 1024 * 1024
"""A frame of unknown size may not ask for a larger window; restic's own is 512 KiB, zstd's own up to this."""

_MAX_EXPANSION = 128 * 1024 // 4  # a block of one repeated byte: 4 bytes stored, 128 KiB out
_FIRST_GUESS_BYTES = 64 * 1024
_GROWTH = 4


class Compressor:
    """Compresses whole blobs to single frames that state their plain size. Belongs to one thread."""

    __slots__ = ("_zstd",)

    def __init__(self, level: Level) -> None:
        # No checksum: the blob's id and the seal's tag already cover the content.
        self._zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVELS[level], write_checksum=False, write_content_size=True)

    def compress(self, data: Buffer) -> bytes:
        """One zstd frame holding `data`."""
        return self._zstd.compress(data)


class Decompressor:
    """Decompresses single frames within known bounds. Belongs to one thread."""

    __slots__ = ("_zstd",)

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)

    def decompress(self, data: Buffer, plain_length: int) -> bytes:
        """The `plain_length` bytes of the one frame that `data` is; IntegrityError for anything else.

        Allocates no more than `plain_length`, and that only if `data` can hold as much.
        """
        stated = _stated_size(data)
        if stated not in (plain_length, None) or plain_length > len(data) * _MAX_EXPANSION:
            raise IntegrityError(f"compressed data does not hold the {plain_length} bytes that it should")
        if stated == 0:
            return self._decompress_empty(data)
        try:
            plain = self._zstd.decompress(data, max_output_size=plain_length, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise IntegrityError(f"compressed data is damaged: {error}") from error
        if len(plain) != plain_length:
            raise IntegrityError(f"compressed data holds {len(plain)} bytes, expected {plain_length}")
        return plain

    def decompress_unknown(self, data: Buffer, limit_bytes: int) -> bytes:
        """The content of the one frame that `data` is, at most `limit_bytes`; IntegrityError for anything else."""
        stated = _stated_size(data)
        if stated is not None:
            if stated > limit_bytes:
                raise IntegrityError(f"compressed data claims {stated} bytes, more than the limit of {limit_bytes}")
            return self.decompress(data, stated)
        return self._decompress_growing(data, min(limit_bytes, len(data) * _MAX_EXPANSION))

    def _decompress_empty(self, data: Buffer) -> bytes:
        # zstandard believes a stated size of 0 without looking at the rest of the frame.
        stream = self._zstd.decompressobj()
        try:
            plain = stream.decompress(data)
        except zstandard.ZstdError as error:
            raise IntegrityError(f"compressed data is damaged: {error}") from error
        if plain or not stream.eof or stream.unused_data:
            raise IntegrityError("compressed data is not the empty frame that it says it is")
        return plain

    def _decompress_growing(self, data: Buffer, limit_bytes: int) -> bytes:
        # A frame may leave out its size (streaming writers do), and then zstd wants the room beforehand: try with more
        # and more of it. That costs at most a third of the work again and never more memory than the limit.
        room = min(_FIRST_GUESS_BYTES, limit_bytes)
        while True:
            try:
                return self._zstd.decompress(data, max_output_size=room, allow_extra_data=False)
            except zstandard.ZstdError as error:
                if room >= limit_bytes:
                    raise IntegrityError(
                        f"compressed data is damaged or exceeds {limit_bytes} bytes: {error}"
                    ) from error
            room = min(room * _GROWTH, limit_bytes)


def _stated_size(data: Buffer) -> int | None:
    """The plain size in the frame header, None where it is left out; IntegrityError if there is no frame header."""
    if bytes(data[:4]) != zstandard.FRAME_HEADER:
        raise IntegrityError("compressed data does not start with a zstd frame")
    try:
        size = zstandard.get_frame_parameters(data).content_size
    except zstandard.ZstdError as error:
        raise IntegrityError(f"compressed data is damaged: {error}") from error
    return None if size == zstandard.CONTENTSIZE_UNKNOWN else size

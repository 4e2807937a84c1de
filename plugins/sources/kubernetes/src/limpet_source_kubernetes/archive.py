"""Reads archives of tar one member after the other, from a stream that cannot be turned back.

The standard library's reader, told that several archives follow each other, passes over damaged blocks in silence; this
one takes nothing for good that it does not understand. Of a member it wants name, kind and content; pax and GNU headers
are read for long names and sizes. Format: POSIX.1-2017 `pax`, and the GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from limpet.errors import SourceError

BLOCK = 512
_REGULAR, _HARD_LINK, _LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"0", b"1", b"L", b"K", b"x", b"g"
_HEADER_LIMIT = 1 << 20
"""A name is no longer than that."""
_SKIP_BYTES = 1 << 16


class Member(NamedTuple):
    """A header, its extended ones taken in. `size_bytes` of content follow it."""

    name: bytes
    size_bytes: int
    is_regular: bool


class ArchiveReader:
    """Members of a stream of archives. After `next`, the content is read with `readinto`, all or nothing of it."""

    def __init__(self, stream: BinaryIO, what: str) -> None:
        self._stream = stream
        self._what = what
        self._rest = 0
        self._padding = 0
        self._zero_blocks = 0
        self.members = 0

    def next(self) -> Member | None:
        """The next member, what is unread of this one left out; None when the stream has ended as it should."""
        self._skip()
        name: bytes | None = None
        size: int | None = None
        while (header := self._header()) is not None:
            kind = header[156:157]
            length = _number(header[124:136], self._what)
            if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
                extended = self._extended(length)
                if kind == _LONG_NAME:
                    name = extended.rstrip(b"\0")
                elif kind == _PAX:
                    name, size = _pax(extended, name, size, self._what)
                continue
            has_content = kind not in (_HARD_LINK, b"2", b"3", b"4", b"5", b"6")
            self._rest = (length if size is None else size) if has_content else 0
            self._padding = -self._rest % BLOCK
            self.members += 1
            return Member(_name(header) if name is None else name, self._rest, kind in (_REGULAR, b"\0", b"7"))
        if name is not None or size is not None:
            raise self._damaged("it ends within a header")
        return None

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Bytes of the member's content, 0 at its end."""
        if not self._rest:
            return 0
        # A view, for a slice of what else may come here, a bytearray, would be a copy that nobody sees.
        count = self._stream.readinto(memoryview(buffer)[: self._rest])  # type: ignore[attr-defined]  # BinaryIO hides it
        if not count:
            raise self._damaged("it ends within a file")
        self._rest -= count
        return int(count)

    def _header(self) -> bytes | None:
        """The next block that is a header; None at the end of the stream, which must be one of an archive."""
        while block := self._stream.read(BLOCK):
            if len(block) < BLOCK:
                raise self._damaged("it ends within a block")
            if block.count(0) == BLOCK:
                self._zero_blocks += 1
                continue
            if _checksum(block) != _number(block[148:156], self._what):
                raise self._damaged("the checksum of a header is wrong")
            self._zero_blocks = 0
            return block
        if self.members and self._zero_blocks < 2:
            raise self._damaged("its end is missing")
        return None

    def _extended(self, length: int) -> bytes:
        if length > _HEADER_LIMIT:
            raise self._damaged("a header is longer than any name")
        padded = self._stream.read(length + -length % BLOCK)
        if len(padded) < length + -length % BLOCK:
            raise self._damaged("it ends within a header")
        return padded[:length]

    def _skip(self) -> None:
        left = self._rest + self._padding
        while left:
            data = self._stream.read(min(left, _SKIP_BYTES))
            if not data:
                raise self._damaged("it ends within a file")
            left -= len(data)
        self._rest = self._padding = 0

    def _damaged(self, reason: str) -> SourceError:
        return SourceError(f"{self._what}: the archive that tar writes is damaged: {reason}")


def _checksum(block: bytes) -> int:
    """The sum of all bytes, those of the checksum itself taken for spaces."""
    return sum(block) - sum(block[148:156]) + 8 * 0x20


def _number(field: bytes, what: str) -> int:
    """Octal digits, or GNU's base 256 where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.rstrip(b"\0 ").lstrip() or b"0", 8)
    except ValueError as error:
        raise SourceError(f"{what}: the archive that tar writes is damaged: a number is none") from error


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _pax(data: bytes, name: bytes | None, size: int | None, what: str) -> tuple[bytes | None, int | None]:
    """Name and size that a pax header gives, else those there are. Records are `LENGTH KEY=VALUE\\n`."""
    try:
        while data:
            length = int(data.partition(b" ")[0])
            key, _, value = data[:length].partition(b" ")[2].partition(b"=")
            if length < 5 or data[length - 1 : length] != b"\n":
                raise ValueError("length")
            if key == b"path":
                name = value[:-1]
            elif key == b"size":
                size = int(value[:-1])
            data = data[length:]
    except ValueError as error:
        raise SourceError(f"{what}: the archive that tar writes is damaged: a pax header is none") from error
    return name, size

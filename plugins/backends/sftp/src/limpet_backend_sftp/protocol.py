"""SFTP version 3 as bytes: packets, attributes and replies (draft-ietf-secsh-filexfer-02, OpenSSH's PROTOCOL)."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

VERSION = 3
HEADER = struct.Struct(">IBI")
"""Length of what follows the first field, kind of packet, and the request's number (a version in INIT and VERSION)."""
LENGTH = struct.Struct(">I")
_WIDE = struct.Struct(">Q")

POSIX_RENAME = b"posix-rename@openssh.com"
STATVFS = b"statvfs@openssh.com"
FSYNC = b"fsync@openssh.com"
LIMITS = b"limits@openssh.com"


class Kind(IntEnum):
    """What a packet is."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    STAT = 17
    RENAME = 18
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Status(IntEnum):
    """How a request ended."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


class OpenFlag(IntFlag):
    """What a file is opened for."""

    READ = 1
    WRITE = 2
    CREATE = 8
    EXCLUSIVE = 0x20


class ProtocolError(Exception):
    """The server's bytes are no SFTP."""


@dataclass(eq=False, slots=True)
class StatusError(Exception):
    """A request that the server refused: its code, and what it said."""

    code: int
    text: str

    def __str__(self) -> str:
        return self.text or f"status {self.code}"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is known of a file; None for what the server did not tell."""

    size_bytes: int | None = None
    mode: int | None = None

    @property
    def is_folder(self) -> bool:
        return self.mode is not None and stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return self.mode is not None and stat.S_ISREG(self.mode)


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What a server tells of the file system below a folder."""

    free_bytes: int
    free_files: int
    is_read_only: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """How many bytes one request may read and write."""

    read_bytes: int = 32 * 1024
    write_bytes: int = 32 * 1024


_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES, _HAS_MORE = 1, 2, 4, 8, 0x80000000
_LARGEST_BYTES = 256 * 1024 - 1024
"""OpenSSH's own limit for one request; larger ones would only make others wait."""


def string(data: bytes) -> bytes:
    """The bytes with their length in front."""
    return LENGTH.pack(len(data)) + data


def encode_mode(mode: int | None) -> bytes:
    """Attributes that say nothing but the mode, or nothing at all."""
    return LENGTH.pack(0) if mode is None else struct.pack(">II", _HAS_MODE, mode)


def encode_range(offset_bytes: int, length_bytes: int) -> bytes:
    """What follows the handle in READ, and in WRITE in front of the data."""
    return struct.pack(">QI", offset_bytes, length_bytes)


class Reader:
    """Takes fields from the front of a packet's body; ProtocolError where it is cut."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    @property
    def at_end(self) -> bool:
        return self._position >= len(self._body)

    def number(self) -> int:
        """The next 32-bit number."""
        return self._unpack(LENGTH)

    def wide(self) -> int:
        """The next 64-bit number."""
        return self._unpack(_WIDE)

    def string(self) -> bytes:
        """The next string."""
        end = self.number() + self._position
        if end > len(self._body):
            raise ProtocolError("a packet is cut")
        data = self._body[self._position : end]
        self._position = end
        return data

    def attributes(self) -> Attributes:
        """The next attributes."""
        flags = self.number()
        size = self.wide() if flags & _HAS_SIZE else None
        if flags & _HAS_OWNER:
            self.wide()
        mode = self.number() if flags & _HAS_MODE else None
        if flags & _HAS_TIMES:
            self.wide()
        for _ in range(self.number() if flags & _HAS_MORE else 0):
            self.string()
            self.string()
        return Attributes(size, mode)

    def _unpack(self, shape: struct.Struct) -> int:
        try:
            (value,) = shape.unpack_from(self._body, self._position)
        except struct.error as error:
            raise ProtocolError("a packet is cut") from error
        self._position += shape.size
        number: int = value
        return number


def decode_status(body: bytes) -> StatusError | None:
    """The refusal in a STATUS packet; None for OK."""
    reader = Reader(body)
    code = reader.number()
    if code == Status.OK:
        return None
    return StatusError(code, "" if reader.at_end else reader.string().decode("utf-8", "replace"))


def decode_names(body: bytes) -> list[tuple[bytes, Attributes]]:
    """The entries in a NAME packet."""
    reader = Reader(body)
    entries = []
    for _ in range(reader.number()):
        name = reader.string()
        reader.string()  # a line as of `ls -l`
        entries.append((name, reader.attributes()))
    return entries


def decode_extensions(body: bytes) -> dict[bytes, bytes]:
    """What a server's VERSION packet offers beyond the protocol."""
    reader = Reader(body)
    found = {}
    while not reader.at_end:
        name = reader.string()
        found[name] = reader.string()
    return found


def decode_limits(body: bytes) -> Limits:
    """The reply to `limits@openssh.com`; 0 in it means no limit."""
    reader = Reader(body)
    reader.wide()  # of a packet
    read, write = reader.wide(), reader.wide()
    return Limits(min(read or _LARGEST_BYTES, _LARGEST_BYTES), min(write or _LARGEST_BYTES, _LARGEST_BYTES))


def decode_file_system(body: bytes) -> FileSystem:
    """The reply to `statvfs@openssh.com`."""
    reader = Reader(body)
    _, fragment, _, _, available, _, _, free_files, _, flags, _ = (reader.wide() for _ in range(11))
    return FileSystem(fragment * available, free_files, bool(flags & 1))

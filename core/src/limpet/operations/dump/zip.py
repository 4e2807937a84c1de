"""Entries for zip archives: names as they are, Unix modes, times in whole seconds."""

from __future__ import annotations

import struct
import time
import zipfile

from limpet.format.filemode import NodeType, st_mode_from_go
from limpet.format.timestamps import NS_PER_S, local_offset
from limpet.operations.dump.stream import Entry

_UNIX = 3
_UTF8_NAME = 0x800
_TIMESTAMP = struct.Struct("<HHBi")  # tag, size, which times, modification time
_TIMESTAMP_TAG = 0x5455
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)
_LAST_TIME = (2107, 12, 31, 23, 59, 58)
_MAX_I32 = 2**31 - 1


class RawZipInfo(zipfile.ZipInfo):
    """An entry whose name may be any bytes: only a name in UTF-8 is marked as such."""

    def __init__(self, name: bytes, date_time: tuple[int, int, int, int, int, int]) -> None:
        super().__init__(name.decode("utf-8", "surrogateescape"), date_time)
        self._raw_name = name

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802  # the name that zipfile calls
        flags: int = self.flag_bits
        try:
            self._raw_name.decode("utf-8")
        except UnicodeDecodeError:
            return self._raw_name, flags
        return self._raw_name, flags if self._raw_name.isascii() else flags | _UTF8_NAME


def info(entry: Entry) -> RawZipInfo:
    """The archive's entry without content."""
    node = entry.node
    is_folder = node.type is NodeType.DIR
    seconds = node.mtime.ns // NS_PER_S
    offset = node.mtime.offset_s if node.mtime.offset_s is not None else local_offset(seconds)
    result = RawZipInfo(entry.path + b"/" if is_folder else entry.path, _date_time(seconds + offset))
    result.create_system = _UNIX
    result.external_attr = st_mode_from_go(node.mode) << 16 | (0x10 if is_folder else 0)
    result.compress_type = zipfile.ZIP_DEFLATED if node.type is NodeType.FILE else zipfile.ZIP_STORED
    if abs(seconds) <= _MAX_I32:
        result.extra = _TIMESTAMP.pack(_TIMESTAMP_TAG, _TIMESTAMP.size - 4, 1, seconds)
    return result


def _date_time(local_seconds: int) -> tuple[int, int, int, int, int, int]:
    """The clock on the wall, within the years that zip knows."""
    try:
        clock = time.gmtime(local_seconds)
    except (OverflowError, OSError, ValueError):
        return _FIRST_TIME if local_seconds < 0 else _LAST_TIME
    now = (clock.tm_year, clock.tm_mon, clock.tm_mday, clock.tm_hour, clock.tm_min, clock.tm_sec)
    return max(_FIRST_TIME, min(now, _LAST_TIME))

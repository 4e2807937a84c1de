"""Headers of a tar archive for what a snapshot holds; contents go between them as they come.

GNU's format, whose names are plain bytes of any kind and length, with a pax header before each for parts of a second.
"""

from __future__ import annotations

import os
import tarfile
from stat import S_IMODE, S_ISDIR, S_ISFIFO, S_ISLNK, S_ISREG

from limpet.contracts.destination import StoredStatus

from limpet_source_kubernetes.archive import BLOCK

END = bytes(2 * BLOCK)


def padding(size_bytes: int) -> int:
    """How many zeros follow a content of that size."""
    return -size_bytes % BLOCK


def header(name: bytes, status: StoredStatus, size_bytes: int = 0, hard_link_to: bytes | None = None) -> bytes | None:
    """The blocks before the content, which only a regular file has; None for what no archive of ours holds.

    Numbers alone say who owns it: names are those of another machine.
    """
    info = tarfile.TarInfo(os.fsdecode(b"./" + name if name else b"./"))
    info.mode = S_IMODE(status.mode)
    info.uid, info.gid = status.uid, status.gid
    info.mtime = status.mtime_ns // 10**9
    if hard_link_to is not None:
        info.type, info.linkname = tarfile.LNKTYPE, os.fsdecode(b"./" + hard_link_to)
    elif S_ISREG(status.mode):
        info.size = size_bytes
    elif S_ISDIR(status.mode):
        info.type = tarfile.DIRTYPE
    elif S_ISLNK(status.mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.fsdecode(status.link_target or b"")
    elif S_ISFIFO(status.mode):
        info.type = tarfile.FIFOTYPE
    else:
        return None
    return _pax_time(status.mtime_ns) + info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _pax_time(mtime_ns: int) -> bytes:
    """An extended header that gives the time to the nanosecond; nothing for whole seconds."""
    if not mtime_ns % 10**9:
        return b""
    seconds, parts = divmod(abs(mtime_ns), 10**9)
    text = f" mtime={'-' if mtime_ns < 0 else ''}{seconds}.{parts:09}\n"
    length = len(text) + 2  # its own two digits: no such record is shorter than 10 bytes or longer than 97
    record = f"{length}{text}".encode()
    info = tarfile.TarInfo("./PaxHeaders")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    return info.tobuf(tarfile.USTAR_FORMAT) + record + bytes(padding(len(record)))

"""Names for snapshots of file systems that tell whose they are: of a run that lives, or of one that was killed."""

from __future__ import annotations

import itertools
import os
import re
import socket
from hashlib import blake2b
from pathlib import Path

_PREFIX = "limpet"
_NAME = re.compile(rf"{_PREFIX}-([0-9a-f]{{8}})-([0-9a-f]{{8}})-([0-9]+)-([0-9]+)-[0-9]+")
_PROC = Path("/proc")
_numbers = itertools.count(1)


def new_snapshot_name() -> str:
    """A name that nobody else has: letters, digits and hyphens, at most 80.

    In it are the host, what it was started as, and the process with its time of start: `is_leftover` asks for them.
    """
    pid = os.getpid()
    return f"{_PREFIX}-{_host()}-{_boot()}-{pid}-{_started(pid)}-{next(_numbers)}"


def is_snapshot_name(name: str) -> bool:
    """Whether `new_snapshot_name` made it, here or anywhere."""
    return _NAME.fullmatch(name) is not None


def is_made_here(name: str) -> bool:
    """Whether a process of this host and container made it, so that `is_leftover` can tell whether that lives."""
    match = _NAME.fullmatch(name)
    return match is not None and match[1] == _host()


def is_leftover(name: str) -> bool:
    """Whether a process of this host made it that is gone. Never for one of another host or container: who knows."""
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    host, boot, pid, started = match.groups()
    return host == _host() and (boot != _boot() or _started(int(pid)) != int(started))


def _host() -> str:
    """The host and its table of processes: another container's processes cannot be seen, and might live."""
    try:
        processes = os.readlink(_PROC / "self/ns/pid")  # the same on every start of a host, new for each container
    except OSError:
        processes = ""
    return _digest(f"{socket.gethostname()} {processes}")


def _boot() -> str:
    try:
        return _digest((_PROC / "sys/kernel/random/boot_id").read_text())
    except OSError:
        return _digest("")


def _started(pid: int) -> int:
    """When a process was started, in ticks since the system was; -1 if there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return -1
    return int(stat[stat.rindex(b")") :].split()[20])  # behind the name, which may hold anything


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=4).hexdigest()

"""How much memory a server took."""

from __future__ import annotations

from pathlib import Path

from tests.services.rest_server import RestServer

MEMORY_LIMIT_BYTES = 64 << 20
"""One of the hundred bodies that are under way at once; twice of what the server needs."""


def peak_memory_bytes(server: RestServer) -> int:
    """The most memory the server ever had, all of its processes together."""
    pids = [server.process.pid, *children(server.process.pid)]
    return sum(_status_kib(pid, "VmHWM") for pid in pids) * 1024


def children(pid: int) -> list[int]:
    """All processes below this one."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children(child)]
    return found


def _status_kib(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

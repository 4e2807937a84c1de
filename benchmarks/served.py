"""A server under measurement: started anew for each run, what it took read from the kernel before it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import descendants

START_LIMIT_S = 30.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ServerCost:
    """What a server process and its children took: processor seconds, and the peak of their resident memory."""

    cpu_s: float
    memory_mib: float


class ServerUnderTest:
    """A running server of restic's REST protocol."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process
        self._start_s = sum(map(_cpu_s, self._pids()))

    def cost(self) -> ServerCost:
        """Up to now; the processor time since it listens."""
        pids = self._pids()
        return ServerCost(sum(map(_cpu_s, pids)) - self._start_s, sum(map(_peak_kib, pids)) / 1024)

    def _pids(self) -> list[int]:
        return [self._process.pid, *descendants(self._process.pid)]


@contextmanager
def served(program: Sequence[str], folder: Path) -> Iterator[ServerUnderTest]:
    """The server of `folder`, for everybody, at a free port. AssertionError with its last words if it ends early."""
    port = _free_port()
    command = [*program, "--path", str(folder), "--listen", f"127.0.0.1:{port}", "--no-auth"]
    with tempfile.TemporaryFile() as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait(process, port)
            yield ServerUnderTest(process, port)
            assert process.poll() is None, "the server ended while it was measured"
        except BaseException:
            output.seek(0)
            print(output.read()[-2000:].decode(errors="replace"))
            raise
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        assert process.poll() is None, f"{process.args!r} ended"
        assert time.monotonic() < deadline, f"{process.args!r} does not come up"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _cpu_s(pid: int) -> float:
    """User and system seconds, those of children it waited for included: fields 14 to 17 of proc(5)'s stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_PER_S


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

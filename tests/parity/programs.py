"""Runs the two programs the same way: real restic, and Limpet from a fork server; on pipes or on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PASSWORD = "geheim-5f3a"
TIMEOUT_S = 60.0
COLUMNS = 400
"""So wide that no line is folded: the two work in folders whose names are of different length."""
FEATURES = "device-id-for-hardlinks=true"
"""What Limpet always does and restic only with this: without it the two store other folders for the same files."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it wrote; on a terminal all is in `out`."""

    exit_code: int
    out: str
    err: str


class Program(Protocol):
    """One of the two programs."""

    name: str

    def start(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], streams: Sequence[Path], terminal: bool
    ) -> Running:
        """The running command, its three standard streams on these files, or all on the one terminal."""


class Running(Protocol):
    """A command that runs."""

    @property
    def pid(self) -> int:
        """Its process, for signals."""

    def wait(self) -> int:
        """Its exit code once it has ended."""

    def has_ended(self) -> bool:
        """Whether it has; its exit code may still be on its way."""


class ResticProgram:
    """Real restic: a fresh process for each call."""

    name = "restic"

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def start(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], streams: Sequence[Path], terminal: bool
    ) -> Running:
        modes = ("r+b",) * 3 if terminal else ("rb", "wb", "wb")
        files = [open(path, mode, buffering=0) for path, mode in zip(streams, modes, strict=True)]  # noqa: SIM115
        try:
            process = subprocess.Popen(
                [self._binary, *arguments],
                cwd=cwd,
                env=dict(env),
                stdin=files[0],
                stdout=files[1],
                stderr=files[2],
                start_new_session=True,
            )
        finally:
            for file in files:
                file.close()
        return _Process(process)


class _Process:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def wait(self) -> int:
        return self._process.wait(TIMEOUT_S)

    def has_ended(self) -> bool:
        return self._process.poll() is not None


class LimpetProgram:
    """Limpet, forked for each call from a process that has all modules imported. One call at a time."""

    name = "limpet"

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forkserver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.answer() == "ready"

    def close(self) -> None:
        """End the server."""
        with self._server:
            assert self._server.stdin
            self._server.stdin.close()

    def start(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], streams: Sequence[Path], terminal: bool
    ) -> Running:
        request = {
            "arguments": list(arguments),
            "cwd": str(cwd),
            "env": dict(env),
            "streams": [str(path) for path in streams],
            "terminal": terminal,
        }
        assert self._server.stdin
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return _Forked(self, int(self.answer()))

    def answer(self) -> str:
        """The server's next line."""
        assert self._server.stdout
        return self._server.stdout.readline().strip()

    def has_answer(self) -> bool:
        """Whether the server has written a line. Only right between two whole lines, as here."""
        assert self._server.stdout
        return bool(select.select([self._server.stdout], [], [], 0)[0])


class _Forked:
    def __init__(self, program: LimpetProgram, pid: int) -> None:
        self._program = program
        self.pid = pid

    def wait(self) -> int:
        return int(self._program.answer())

    def has_ended(self) -> bool:
        return self._program.has_answer()


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """The same for both programs: nothing of whoever runs the tests but the path."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "TZ": "Europe/Berlin",
        "TERM": "xterm",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        "RESTIC_PASSWORD": PASSWORD,
        "RESTIC_FEATURES": FEATURES,
        **more,
    }


@dataclass(frozen=True, slots=True)
class Started:
    """A command that was started, and how to get its end."""

    running: Running
    _finish: Callable[[], Ended]

    def finish(self) -> Ended:
        """Wait for the end. Once."""
        return self._finish()


def start(
    program: Program,
    arguments: Sequence[str],
    *,
    cwd: Path,
    streams: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Started:
    """The command with files in the folder `streams` for standard streams."""
    files = [streams / f".{name}" for name in ("stdin", "stdout", "stderr")]
    for file, content in zip(files, (stdin, b"", b""), strict=True):
        file.write_bytes(content)
    running = program.start(arguments, cwd=cwd, env=environment(env or {}), streams=files, terminal=False)

    def finish() -> Ended:
        code = running.wait()
        out, err = (file.read_bytes().decode("utf-8", "backslashreplace") for file in files[1:])
        return Ended(code, out, err)

    return Started(running, finish)


def start_on_terminal(
    program: Program, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None
) -> Started:
    """The command on a terminal of its own; nobody types."""
    ours, theirs = pty.openpty()
    termios_size(theirs)
    name = Path(os.ttyname(theirs))
    running = program.start(arguments, cwd=cwd, env=environment(env or {}), streams=[name] * 3, terminal=True)

    def finish() -> Ended:
        try:
            written = _read_until_ended(ours, running)
            return Ended(running.wait(), written.decode("utf-8", "backslashreplace").replace("\r\n", "\n"), "")
        finally:
            os.close(ours)
            os.close(theirs)

    return Started(running, finish)


def termios_size(descriptor: int) -> None:
    """Give the terminal a size; a new one has none."""
    import fcntl  # noqa: PLC0415
    import struct  # noqa: PLC0415
    import termios  # noqa: PLC0415

    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))


def _read_until_ended(descriptor: int, running: Running) -> bytes:
    written = bytearray()
    deadline = time.monotonic() + TIMEOUT_S
    ended = False
    while True:
        if select.select([descriptor], [], [], 0.02)[0]:
            written += os.read(descriptor, 65536)
        elif ended:
            return bytes(written)
        ended = ended or running.has_ended()
        assert time.monotonic() < deadline, f"did not end: {bytes(written)!r}"

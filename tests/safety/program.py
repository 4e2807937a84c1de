"""The real command line as processes of their own that can be killed, stopped, traced and looked for."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import limpet
from limpet.format.kdf import KdfParameters, new_salt

PASSWORD = "only for this test"
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended: its exit code (negative: the signal that killed it) and what it said."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The last line on standard error: what a person reads first."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return lines[-1] if lines else ""


class Running:
    """A started command, the leader of a session of its own: whatever it forks can be found by the session."""

    def __init__(
        self, command: Sequence[str | Path], environment: dict[str, str], *, stdout: int | None = None
    ) -> None:
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The command's process, which is also its process group and its session."""
        return self.process.pid

    def signal_group(self, number: signal.Signals) -> None:
        """Send the signal as a terminal would: to the command and all its workers."""
        if self.process.poll() is None:
            os.killpg(self.pid, number)

    def signal_parent(self, number: signal.Signals) -> None:
        """Send the signal to the command alone, not to its workers."""
        self.process.send_signal(number)

    def interrupt_traced(self) -> None:
        """Ctrl-C for a command below strace, to its main thread.

        The kernel gives a signal for the process to another thread while strace holds the main one; that one, once it
        waits for a lock, would never learn of it. Without a tracer the main thread always comes first.
        """
        (traced,) = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        assert ctypes.CDLL(None).tgkill(int(traced), int(traced), signal.SIGINT) == 0

    def wait_until(self, condition: Callable[[], bool], what: str, limit_s: float = TIMEOUT_S) -> None:
        """Wait for the condition while the command runs; AssertionError if it ends before, or too much time goes."""
        deadline = time.monotonic() + limit_s
        while True:
            is_over = self.process.poll() is not None
            if condition():
                return
            if is_over:
                ended = self.end()
                raise AssertionError(f"ended with {ended.code} before {what}:\n{ended.err}")
            assert time.monotonic() < deadline, f"not in {limit_s} s: {what}"
            time.sleep(0.005)

    def end(self, limit_s: float = TIMEOUT_S) -> Ended:
        """Wait for the end; AssertionError, and the process killed, if it does not come."""
        try:
            out, err = self.process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            stacks = self._stacks()
            self.close()
            raise AssertionError(f"still running after {limit_s} s; where:\n{stacks}") from None
        return Ended(self.process.returncode, (out or b"").decode(errors="replace"), err.decode(errors="replace"))

    def survivors(self) -> list[str]:
        """The processes of the session that still live, as `pgrep` shows them."""
        found = subprocess.run(["pgrep", "-l", "-s", str(self.pid)], capture_output=True, text=True, check=False)
        return [line for line in found.stdout.splitlines() if not _is_zombie(int(line.split()[0]))]

    def assert_none_survives(self, limit_s: float = 30.0) -> None:
        """The command and its workers are all gone, at the latest after a moment."""
        deadline = time.monotonic() + limit_s
        while survivors := self.survivors():
            assert time.monotonic() < deadline, f"still there: {survivors}"
            time.sleep(0.02)

    def _stacks(self) -> str:
        """What the command said so far, and where each thread of each process hangs: Python tells it when aborted."""
        for line in self.survivors():
            if "strace" not in line:
                os.kill(int(line.split()[0]), signal.SIGABRT)
        try:
            _out, err = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            return "no answer"
        return err.decode(errors="replace")

    def close(self) -> None:
        """Kill what is left of the session."""
        for line in self.survivors():
            try:
                os.kill(int(line.split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


class Site:
    """One repository, its cache, and the commands run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "repository"
        self.cache = folder / "cache"
        self.variables: dict[str, str] = {}
        """More of the environment."""
        self._running: list[Running] = []

    def create(self) -> None:
        """An empty repository whose password costs nothing to try."""
        limpet.create_repository(str(self.repository), PASSWORD, kdf=KdfParameters(2, 1, 1, new_salt())).close()

    def start(self, *arguments: str | Path, prefix: Sequence[str | Path] = (), stdout: int | None = None) -> Running:
        """The running command; `prefix` is a program that runs it, such as strace."""
        return self.start_program([*prefix, sys.executable, "-m", "limpet.cli.main", *arguments], stdout=stdout)

    def start_program(self, command: Sequence[str | Path], *, stdout: int | None = None) -> Running:
        """Any program, in the environment of the commands."""
        running = Running(command, self.environment(), stdout=stdout)
        self._running.append(running)
        return running

    def run(self, *arguments: str | Path, prefix: Sequence[str | Path] = (), code: int | None = 0) -> Ended:
        """The ended command; AssertionError, showing what it said, unless it ended with this code."""
        running = self.start(*arguments, prefix=prefix)
        ended = running.end()
        assert code is None or ended.code == code, f"{arguments} ended with {ended.code}:\n{ended.out}\n{ended.err}"
        running.assert_none_survives()
        return ended

    def environment(self) -> dict[str, str]:
        """What the commands inherit."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_"))}
        return {
            **kept,
            "LIMPET_REPOSITORY": str(self.repository),
            "LIMPET_PASSWORD": PASSWORD,
            "LIMPET_CACHE_DIR": str(self.cache),
            "PYTHONFAULTHANDLER": "1",
            **self.variables,
        }

    def files(self, kind: str) -> set[str]:
        """Names of the repository's files of a kind, temporary ones not among them."""
        return {path.name for path in (self.repository / kind).rglob("*") if re.fullmatch("[0-9a-f]{64}", path.name)}

    def temporary_files(self) -> list[Path]:
        """What uploads that broke off left behind."""
        return [path for path in self.repository.rglob("*-tmp-*") if path.is_file()]

    def close(self) -> None:
        """Kill what is left of all commands."""
        for running in self._running:
            running.close()


def _is_zombie(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] in "ZX"

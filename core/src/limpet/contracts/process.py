"""Child processes of sources and destinations: what they write or are fed, their complaints, how they end.

A child is the leader of a session of its own, so that all that it starts can be ended at once. It has no terminal: one
that asks questions fails instead of waiting.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from limpet.contracts.reading import StoppableReader

PIPE_SIZE = 1 << 20
GRACE_S = 1.0
"""How long a command may take to end after SIGTERM; an interrupted backup should be gone in two seconds."""
LAST_WORDS_S = 1.0
_SHELL_NOT_FOUND = 127
_ERROR = re.compile(r"\b(?:error|fatal)\b", re.IGNORECASE)

Tell = Callable[[str], None]
"""Takes a line that a child says on its standard error."""


class ChildProcess:
    """A running command; OSError or ValueError if it cannot be started. Both its kinds end in the same way."""

    def __init__(
        self,
        argv: Sequence[str],
        tell: Tell | None,
        environment: Mapping[str, str] | None,
        *,
        stdin: int,
        stdout: int,
    ) -> None:
        self.name = argv[0]
        self.last_words = ""
        """The last line on its standard error that speaks of an error; the last line at all where none does."""
        self._process = subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE if tell else None,
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,
            bufsize=0,
        )
        self._listener: threading.Thread | None = None
        if tell:
            # Nobody else empties this pipe: a command with much to say would wait for us forever.
            self._listener = threading.Thread(target=self._listen, args=(tell,), name="stderr", daemon=True)
            self._listener.start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet; where it has, `end` comes too late for what it started."""
        return self._process.poll() is None

    def wait(self) -> str | None:
        """Wait for the end; None if all went well, else how it ended: `exit status 3`, `signal: killed`."""
        code = self._process.wait()
        if self._listener is not None:
            # What the command itself said is there by now; something it left behind may keep the pipe open.
            self._listener.join(LAST_WORDS_S)
        if code == 0:
            return None
        if code > 0:
            return f"exit status {code}" + (" (command not found)" if code == _SHELL_NOT_FOUND else "")
        return f"signal: {_signal_words(-code)}"

    def end(self) -> None:
        """Make the command and its children end: asked first, killed a second later. Idempotent.

        Not after `wait`: what a command that was waited for left behind is its own affair.
        """
        if self._process.returncode is None:  # Until it is asked how it ended its number, the group's too, stays taken.
            self._signal(forced=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
            self._signal(forced=True)
            self._process.wait()

    def _signal(self, *, forced: bool) -> None:
        if sys.platform == "win32":  # No process groups to signal.
            self._process.kill()
            return
        # The group outlives its leader as long as anything of it runs.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL if forced else signal.SIGTERM)

    def _listen(self, tell: Tell) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            rest = b""
            while data := pipe.read(1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > PIPE_SIZE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._say(line, tell)
            if rest:
                self._say(rest, tell)

    def _say(self, line: bytes, tell: Tell) -> None:
        text = line.decode(errors="replace")
        if text.strip() and (_ERROR.search(text) or not _ERROR.search(self.last_words)):
            self.last_words = text.strip()  # Many a tool goes on after its error with hints, and the statement at hand.
        tell(f"subprocess {self.name}: {text}")


class OutputProcess(ChildProcess):
    """A command whose standard output is read; its standard input is empty. `environment` is added to ours."""

    def __init__(self, argv: Sequence[str], tell: Tell | None, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(argv, tell, environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        descriptor = os.dup(self._process.stdout.fileno())
        self._process.stdout.close()
        _widen(descriptor)
        self.output = StoppableReader(descriptor, self.name, owns_descriptor=True)

    def end(self) -> None:
        self.output.stop()
        super().end()


class InputProcess(ChildProcess):
    """A command that is fed through its standard input; what it prints is dropped. `environment` is added to ours."""

    def __init__(self, argv: Sequence[str], tell: Tell | None, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(argv, tell, environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self._process.stdin is not None
        self._input = self._process.stdin
        _widen(self._input.fileno())

    def write(self, data: bytes | memoryview) -> None:
        """Feed all of it; BrokenPipeError once the command reads no more, `wait` then tells how it ended."""
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self._input.write(rest) :]

    def wait(self) -> str | None:
        """Tell it that no more will come, and wait for the end; as `ChildProcess.wait`."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        return super().wait()

    def end(self) -> None:
        super().end()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()


def _signal_words(number: int) -> str:
    try:
        return (signal.strsignal(number) or f"number {number}").lower()
    except ValueError:
        return f"number {number}"


def _widen(descriptor: int) -> None:
    """A pipe of a mebibyte where that is to be had: fewer turns between the command and us."""
    if sys.platform == "linux":
        import fcntl  # noqa: PLC0415  # not everywhere

        with contextlib.suppress(OSError):  # The user may have used up the share of pipe memory.
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)

"""One child process and all that it starts: its output, its complaints, how it ended, and its end when we abort."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from limpet_source_command.reading import StoppableReader

PIPE_SIZE = 1 << 20
GRACE_S = 1.0
"""How long a command may take to end after SIGTERM; an interrupted backup should be gone in two seconds."""
LAST_WORDS_S = 1.0
_SHELL_NOT_FOUND = 127


class ChildProcess:
    """A running command. It is the leader of a session of its own, so that all of it can be ended at once.

    It has no terminal and an empty standard input: a command that asks questions fails instead of waiting.
    """

    def __init__(self, argv: Sequence[str], tell: Callable[[str], None] | None) -> None:
        self.name = argv[0]
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if tell else None,
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdout is not None
        descriptor = os.dup(self._process.stdout.fileno())
        self._process.stdout.close()
        _widen(descriptor)
        self.output = StoppableReader(descriptor, self.name, owns_descriptor=True)
        self._listener: threading.Thread | None = None
        if tell:
            # Nobody else empties this pipe: a command with much to say would wait for us forever.
            self._listener = threading.Thread(target=self._listen, args=(tell,), name="stderr", daemon=True)
            self._listener.start()

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
        """Make the command and its children end if it still runs: asked first, killed a second later. Idempotent."""
        self.output.stop()
        if self._process.poll() is None:
            self._signal(forced=False)
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.poll()
            self._signal(forced=True)
            self._process.wait()

    def _signal(self, *, forced: bool) -> None:
        if sys.platform == "win32":  # No process groups to signal.
            self._process.kill()
            return
        # The group outlives its leader as long as anything of it runs.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL if forced else signal.SIGTERM)

    def _listen(self, tell: Callable[[str], None]) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            rest = b""
            while data := pipe.read(1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > PIPE_SIZE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    tell(f"subprocess {self.name}: {line.decode(errors='replace')}")
            if rest:
                tell(f"subprocess {self.name}: {rest.decode(errors='replace')}")


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

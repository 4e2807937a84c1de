"""`RcloneProcess`: an rclone that serves a remote on a private unix socket, for as long as we live and no longer."""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence

from limpet.errors import BackendError, UsageError

END_LIMIT_S = 5.0
"""How long rclone may take to end once it was asked to."""
LONGEST_SOCKET_PATH = 100
_PAUSE_S = 0.005

# A line on the pipe says that rclone shall end. The end of the pipe says that we did, killed maybe: rclone then has a
# second, in which it sees that its uploads broke off and removes what there is of them.
_WATCH = """
folder=$1
shift
exec 3<&0 </dev/null
"$@" 3<&- &
rclone=$!
{ read -r _ <&3 || sleep 1; kill "$rclone"; } 2>/dev/null &
watch=$!
exec 3<&-
wait "$rclone"
code=$?
kill "$watch" 2>/dev/null
rm -f "$folder/rclone"
rmdir "$folder" 2>/dev/null
exit "$code"
"""


class RcloneProcess:
    """Running from the start until `close`, or until our own end, also by SIGKILL.

    `command` is made for the path of the socket; `tell` is given each line that rclone says, as `redact` leaves it.
    """

    def __init__(
        self,
        command: Callable[[str], Sequence[str]],
        timeout_s: float,
        tell: Callable[[str], None],
        redact: Callable[[str], str],
    ) -> None:
        folder = _private_folder()
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.socket_path = os.path.join(folder, "rclone")
        try:
            argv = command(self.socket_path)
            self._program = argv[0]
            _check_program(self._program)
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, "limpet", folder, *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for us: what is under way is brought to its end first
            )
        except BaseException:
            self._remove_folder()
            raise
        self._tell = tell
        self._redact = redact
        self._is_gone = False
        self._last_words: collections.deque[str] = collections.deque(maxlen=1)
        self._listener = threading.Thread(target=self._listen, name="rclone", daemon=True)
        self._listener.start()
        try:
            self._wait_until_it_listens(timeout_s)
        except BaseException:
            self.close()
            raise

    @property
    def has_ended(self) -> str | None:
        """How it ended, None as long as it runs."""
        code = self._process.poll()
        if code is None:
            return None
        said = f": {self._last_words[-1]}" if self._last_words else ""
        return f"{self._program} has ended with exit status {code}{said}"

    def close(self) -> None:
        """End it: asked first, killed some seconds later. Idempotent."""
        if self._is_gone:
            return  # its number may be another's by now
        process = self._process
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended by itself
            if not process.stdin.closed:
                process.stdin.write(b"\n")
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_LIMIT_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # it, or what it has left behind
        process.wait()
        self._is_gone = True
        self._listener.join(END_LIMIT_S)
        self._remove_folder()

    def _listen(self) -> None:
        """Pass on what it says, until it has ended."""
        assert self._process.stderr is not None
        with self._process.stderr as said:
            for line in said:
                text = self._redact(line.decode(errors="replace").rstrip())
                if "Serving restic REST API" not in text:
                    self._last_words.append(text)
                    self._tell(f"rclone: {text}")

    def _wait_until_it_listens(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(self.socket_path)
                return
            if self._process.poll() is not None:
                self._listener.join(END_LIMIT_S)  # its last words
                raise BackendError(f"cannot serve the remote: {self.has_ended}", permanent=True)
            if time.monotonic() > deadline:
                raise BackendError(
                    f"{self._program} does not listen after {timeout_s:g} seconds; give it more by -o rclone.timeout",
                    permanent=True,
                )
            time.sleep(_PAUSE_S)


def _check_program(program: str) -> None:
    if shutil.which(program) is None:
        raise UsageError(f"there is no program {program!r}: install rclone, or name it by -o rclone.program")


def _private_folder() -> str:
    """A new folder that only we may look into, with a path short enough for a socket in it."""
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="limpet-rclone-", dir=usual if len(usual) < LONGEST_SOCKET_PATH - 40 else "/tmp")

"""`SshProcess`: the stream through a program, ssh or another, that carries SFTP on its standard input and output."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import subprocess
import time
from collections import deque
from collections.abc import Sequence

from limpet.errors import BackendError

from limpet_backend_sftp.command import ssh_environment
from limpet_backend_sftp.errors import last_words
from limpet_backend_sftp.stream import Bytes, StreamEndedError, StreamStuckError

BUFFER_BYTES = 1024 * 1024
KEPT_LINES = 50
END_LIMIT_S = 2.0
WHOLE_READ_BYTES = 64 * 1024
"""Waited for in one call: large, to be woken seldom, yet not so large that a slow line seems to stand still."""

log = logging.getLogger("limpet.backend.sftp")
"""What ssh says is a warning of this logger; without any logging set up it goes to standard error."""


class SshProcess:
    """A `Stream`. The program is in a process group of its own: Ctrl-C is for us to handle."""

    def __init__(self, command: Sequence[str], place: str) -> None:
        self.moved_at = time.monotonic()
        self._place = place
        self._program = os.path.basename(command[0])
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._cut_line = b""
        self._greeted = False
        # A socket, as it can be shut down though a forked child holds a copy of it.
        self._socket, theirs = socket.socketpair()
        with theirs:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
                theirs.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    env=ssh_environment(),
                    process_group=0,
                    bufsize=0,
                )
            except OSError as error:
                self._socket.close()
                raise BackendError(
                    f"cannot run {command[0]}: {(error.strerror or str(error)).lower()}; install an ssh client,"
                    " name a command with -o sftp.command, or use -o sftp.client=paramiko",
                    permanent=True,
                ) from error
        assert self._process.stderr is not None
        self._stderr = self._process.stderr
        os.set_blocking(self._stderr.fileno(), False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._poll.register(self._stderr, select.POLLIN)

    @property
    def process_group(self) -> int:
        group: int = self._process.pid
        return group

    def send(self, pieces: Sequence[Bytes], timeout_s: float | None) -> None:
        left = [memoryview(piece) for piece in pieces if len(piece)]
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        while left:
            try:
                count = self._socket.sendmsg(left, (), flags)
            except BlockingIOError:
                self._wait_for_room(timeout_s)
                continue
            except OSError as error:
                raise StreamEndedError from error
            self.moved_at = time.monotonic()
            while left and count >= len(left[0]):
                count -= len(left[0])
                del left[0]
            if count:
                left[0] = left[0][count:]

    def receive_some(self, buffer: memoryview) -> int:
        while True:
            try:
                count = self._socket.recv_into(buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait_for_bytes()
            except OSError:
                return 0
            else:
                self.moved_at = time.monotonic()
                return count

    def receive_all(self, buffer: memoryview) -> bool:
        position = 0
        while position < buffer.nbytes:
            try:
                count = self._socket.recv_into(buffer[position : position + WHOLE_READ_BYTES], 0, socket.MSG_WAITALL)
            except OSError:
                return False
            if not count:
                return False
            position += count
            self.moved_at = time.monotonic()
        return True

    def greeted(self) -> None:
        self._greeted = True
        for line in self._lines:
            self._show(line)

    def abort(self) -> None:
        self._shut_down()
        self._process.terminate()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)  # at its end ssh ends by itself
        self._reap()
        self._shut_down()

    def release(self) -> None:
        self._socket.close()
        self._stderr.close()

    def ending(self) -> BackendError:
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(END_LIMIT_S)
        self._take_stderr()
        return last_words(self._program, self._place, code, self._lines, greeted=self._greeted)

    def _wait_for_room(self, timeout_s: float | None) -> None:
        room = select.poll()
        room.register(self._socket, select.POLLOUT)
        while True:
            left_s = None if timeout_s is None else self.moved_at + timeout_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise StreamStuckError
            if room.poll(None if left_s is None else left_s * 1000 + 1):
                return

    def _wait_for_bytes(self) -> None:
        for descriptor, _ in self._poll.poll():
            if descriptor == self._stderr.fileno() and not self._take_stderr():
                self._poll.unregister(self._stderr)

    def _take_stderr(self) -> bool:
        """Take what the program has said, and show it once the connection stands; False at the end of it."""
        try:
            while said := self._stderr.read(65536):
                *lines, self._cut_line = (self._cut_line + said).split(b"\n")
                for line in lines:
                    text = line.decode("utf-8", "replace").strip()
                    self._lines.append(text)
                    if self._greeted:
                        self._show(text)
        except (OSError, ValueError):
            return False
        return said is None

    def _show(self, line: str) -> None:
        if line:
            log.warning("subprocess %s: %s", self._program, line)

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _reap(self) -> None:
        for end in (self._process.terminate, self._process.kill, None):
            try:
                self._process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                if end is not None:
                    end()
            else:
                return

"""`ParamikoChannel`: the stream to a server without an ssh program."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import paramiko  # type: ignore[import-untyped]
from limpet.errors import BackendError

from limpet_backend_sftp.location import ServerPath
from limpet_backend_sftp.paramiko_login import log_in, parse_arguments
from limpet_backend_sftp.stream import Bytes, StreamEndedError, StreamStuckError

LOOK_UP_S = 0.5
"""How often a wait is broken off to see whether it still makes sense."""
RECEIVED_AT_ONCE_BYTES = 1024 * 1024
_FAILURES = (OSError, EOFError, paramiko.SSHException)


class ParamikoChannel:
    """A `Stream`. Keys come from the agent and from files; nobody is asked for a password."""

    def __init__(self, place: ServerPath, arguments: Sequence[str], timeout_s: float | None) -> None:
        self._place = place
        self._ended = False
        given = parse_arguments(arguments)
        with contextlib.ExitStack() as stack:
            transport = log_in(place, given, timeout_s, stack)
            try:
                self._channel = transport.open_session(timeout=timeout_s)
                self._channel.settimeout(timeout_s)
                self._channel.invoke_subsystem("sftp")
            except _FAILURES as error:
                raise BackendError(
                    f"cannot connect to {place}: the server offers no SFTP: {error}", permanent=True
                ) from error
            self._closing = stack.pop_all()
        self._channel.settimeout(LOOK_UP_S)
        self.moved_at = time.monotonic()

    def send(self, pieces: Sequence[Bytes], timeout_s: float | None) -> None:
        for piece in pieces:
            left = memoryview(piece)
            while left.nbytes:
                try:
                    left = left[self._channel.send(left) :]
                except TimeoutError:
                    if timeout_s is not None and time.monotonic() - self.moved_at > timeout_s:
                        raise StreamStuckError from None
                    continue
                except _FAILURES as error:
                    raise StreamEndedError from error
                self.moved_at = time.monotonic()

    def receive_some(self, buffer: memoryview) -> int:
        while not self._ended:
            try:
                data = self._channel.recv(min(len(buffer), RECEIVED_AT_ONCE_BYTES))
            except TimeoutError:
                continue
            except _FAILURES:
                return 0
            self.moved_at = time.monotonic()
            buffer[: len(data)] = data
            return len(data)
        return 0

    def receive_all(self, buffer: memoryview) -> bool:
        position = 0
        while position < len(buffer):
            count = self.receive_some(buffer[position:])
            if not count:
                return False
            position += count
        return True

    def greeted(self) -> None:
        return

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        self._ended = True
        with contextlib.suppress(*_FAILURES):
            self._closing.close()

    def release(self) -> None:
        return

    def ending(self) -> BackendError:
        return BackendError(f"the connection to {self._place} is lost: the server has closed it")

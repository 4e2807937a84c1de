"""`Connection`: the one session a backend works over, made when it is needed and again when it has broken."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable

from limpet.contracts.options import Options
from limpet.errors import BackendError, UsageError

from limpet_backend_sftp.answers import encode_path
from limpet_backend_sftp.command import split_words, ssh_command
from limpet_backend_sftp.files import RemoteFiles
from limpet_backend_sftp.location import ServerPath
from limpet_backend_sftp.protocol import Kind
from limpet_backend_sftp.session import Session

CLIENTS = ("auto", "ssh", "paramiko")
Connector = Callable[[], Session]


class Connection:
    """Thread-safe."""

    def __init__(self, connect: Connector) -> None:
        self.replaces = True
        """Whether renaming replaces files; known for sure once the server has been reached."""
        self._connect = connect
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._to_remove: set[str] = set()

    def session(self) -> Session:
        """A session that works, as far as is known; BackendError if none can be had."""
        with self._lock:
            if self._session is not None and self._session.is_broken:
                broken, self._session = self._session, None
                broken.close()
            if self._session is None:
                self._session = self._connect()
                self.replaces = RemoteFiles(self._session).replaces
                while self._to_remove:
                    path = self._to_remove.pop()
                    self._session.post(Kind.REMOVE, encode_path(path))
            return self._session

    def remove_later(self, path: str) -> None:
        """Remove the file as soon as there is a connection again."""
        self._to_remove.add(path)

    def close(self) -> None:
        """End the session, if there is one. Idempotent."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()


def connector(place: ServerPath, options: Options, timeout_s: float | None) -> Connector:
    """What makes sessions as the options say; UsageError if they make no sense."""
    client, command, arguments = (options.get(name) for name in ("client", "command", "args"))
    command = str(command) if command else None
    arguments = str(arguments) if arguments else None
    if client not in {None, *CLIENTS}:
        raise UsageError(f"sftp.client must be one of {', '.join(CLIENTS)}, not {client!r}")
    line = ssh_command(place, arguments, command)
    if client == "paramiko" and command:
        raise UsageError("cannot specify both sftp.command and sftp.client=paramiko")
    if client == "paramiko" or (client != "ssh" and not command and shutil.which("ssh") is None):
        return lambda: _by_paramiko(place, split_words("sftp.args", arguments or ""), timeout_s)
    return lambda: _by_ssh(place, line, timeout_s)


def _by_ssh(place: ServerPath, line: list[str], timeout_s: float | None) -> Session:
    from limpet_backend_sftp.ssh_process import SshProcess  # noqa: PLC0415  # only one of the two is needed
    from limpet_backend_sftp.terminal import terminal_lent_to  # noqa: PLC0415

    stream = SshProcess(line, str(place))
    session = Session(stream, str(place), timeout_s)
    with terminal_lent_to(stream.process_group):
        session.start()
    return session


def _by_paramiko(place: ServerPath, arguments: list[str], timeout_s: float | None) -> Session:
    try:
        from limpet_backend_sftp.paramiko_channel import ParamikoChannel  # noqa: PLC0415  # heavy, and seldom needed
    except ImportError as error:
        raise BackendError(
            f"neither ssh nor paramiko can be used: {error}; install an ssh client", permanent=True
        ) from error
    session = Session(ParamikoChannel(place, arguments, timeout_s), str(place), timeout_s)
    session.start()
    return session

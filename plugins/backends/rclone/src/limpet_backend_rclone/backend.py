"""`RcloneBackend`: any remote of rclone's, by way of the REST protocol that rclone speaks on a private socket."""

from __future__ import annotations

import logging
import re
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self, TypeVar

from limpet.contracts.backend import Content, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError, UsageError
from limpet_backend_rest.backend import RestBackend, connection_count
from limpet_backend_rest.place import Place
from limpet_backend_rest.wire import Answer

from limpet_backend_rclone.process import RcloneProcess

T = TypeVar("T")

log = logging.getLogger("limpet.backend.rclone")
"""What rclone says is a warning of this logger; without any logging set up it goes to standard error."""

DEFAULT_PROGRAM = "rclone"
DEFAULT_ARGUMENTS = "serve restic --stdio --b2-hard-delete --cache-objects=false"
"""restic's, but for the last: with that cache rclone says a lock is there that another machine has removed."""
DEFAULT_TIMEOUT_S = 60.0
_SECRET = re.compile(
    r"(?i)((?:pass|secret|token|key|cred|auth|cookie|header|sas|connection_string)[^=,:]*=)"
    r"(?:\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*'|[^,:]*)"
)
_LOGIN = re.compile(r"(://[^/:@\s]*):[^/@\s]*@")


class RcloneBackend(RestBackend):
    """An rclone of our own serves the remote, and ends with us."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("program", "the rclone to run, with arguments of its own if need be", default=DEFAULT_PROGRAM),
        Option(
            "args", "what it is told to do; --stdio stands for the socket that Limpet uses", default=DEFAULT_ARGUMENTS
        ),
        Option("connections", "how many requests are made at once", type="integer", default=5),
        Option("timeout", "how long rclone may take to get ready", type="duration", default=DEFAULT_TIMEOUT_S),
    )

    def __init__(self, place: Place, transport: Transport, process: RcloneProcess, **settings: Any) -> None:
        super().__init__(place, transport, **settings)
        self._process = process
        self._saving: set[Handle] = set()
        self._saving_changed = threading.Condition()

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository at `remote:path`; rclone runs from now on. TLS and its time limits are rclone's business."""
        if not location or "\0" in location:
            raise UsageError("the location names no remote of rclone's; give one as in rclone:remote:path")
        connections = connection_count("rclone", options.get("connections"))
        given = options.get("timeout")
        timeout_s = float(given) if isinstance(given, int | float) else DEFAULT_TIMEOUT_S
        program = str(options.get("program") or DEFAULT_PROGRAM)
        arguments = str(options.get("args") or DEFAULT_ARGUMENTS)
        process = RcloneProcess(
            lambda socket_path: command_line(program, arguments, socket_path, location),
            timeout_s,
            log.warning,
            lambda said: redacted_in(said, location),
        )
        # rclone answers an upload when the remote has it, however long that takes, and has time limits of its own.
        local = replace(transport, stuck_request_timeout_s=None)
        place = Place("http", "localhost", 0, process.socket_path, "")
        try:
            return cls(place, local, process, connections=connections, location=f"rclone:{redacted(location)}")
        except BaseException:
            process.close()
            raise

    def save(self, handle: Handle, content: Content) -> None:
        """Look first whether it is there: rclone replaces a file without a word, on some remotes in place."""
        with self._alone(handle):
            try:
                self.stat(handle)
            except MissingFileError:
                super().save(handle, content)
                return
        raise BackendError(f"cannot save {handle} at {self.location}: the file is there already", permanent=True)

    def remove(self, handle: Handle) -> None:
        """Without a look before: unlike rest-server, rclone says when there is no such file."""
        try:
            self._delete_file(handle)
        except MissingFileError:
            self.stat(handle)  # it says so as well when it could not look
            raise BackendError(f"cannot remove {handle} at {self.location}: rclone did not find it") from None

    def close(self) -> None:
        super().close()
        self._process.close()

    @contextmanager
    def _alone(self, handle: Handle) -> Iterator[None]:
        """Nobody else in this process saves the same file meanwhile: two uploads of one file spoil each other."""
        with self._saving_changed:
            self._saving_changed.wait_for(lambda: handle not in self._saving)
            self._saving.add(handle)
        try:
            yield
        finally:
            with self._saving_changed:
                self._saving.discard(handle)
                self._saving_changed.notify_all()

    def _ask(
        self,
        what: str,
        method: str,
        path: str,
        receive: Callable[[Answer, str], T],
        *,
        more: str = "",
        body: memoryview | None = None,
    ) -> T:
        try:
            return super()._ask(what, method, path, receive, more=more, body=body)
        except BackendError as error:
            end = None if error.permanent else self._process.has_ended
            if end is None:
                raise
            raise BackendError(f"cannot {what} at {self.location}: {end}", permanent=True) from error


def command_line(program: str, arguments: str, socket_path: str, remote: str) -> list[str]:
    """The command that serves the remote on the socket; UsageError for options that cannot be one."""
    try:
        own, words = shlex.split(program), shlex.split(arguments)
    except ValueError as error:
        raise UsageError(f"-o rclone.program or rclone.args cannot be split into words: {error}") from error
    if not own:
        raise UsageError("-o rclone.program names no program")
    if any(word.partition("=")[0] == "--addr" for word in words):
        raise UsageError("-o rclone.args may not hold --addr: Limpet reaches rclone on a socket of its own")
    words = [word for word in words if word != "--stdio"]
    return [*own, *words, "--addr", f"unix://{socket_path}", remote]


def redacted(remote: str) -> str:
    """The remote without the passwords and keys that may stand in it (`:sftp,host=h,pass=p:path`)."""
    return _LOGIN.sub(r"\1:***@", _SECRET.sub(r"\1***", remote))


def redacted_in(said: str, remote: str) -> str:
    """What rclone says, without the secrets of the remote, which it likes to repeat (quoted as Go does)."""
    for form in (remote, remote.replace("\\", "\\\\").replace('"', '\\"')):
        said = said.replace(form, redacted(remote))
    return redacted(said)

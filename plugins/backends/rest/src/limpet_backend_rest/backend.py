"""`RestBackend`: a repository on restic's REST server, or on another program that speaks its protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Self, TypeVar

from limpet.contracts.backend import CONFIG_HANDLE, Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options, OptionValue
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError, UsageError
from limpet.ids import is_hex_id

from limpet_backend_rest.errors import missing, status_error
from limpet_backend_rest.listing import API_V2, decode_listing, decode_names
from limpet_backend_rest.place import Place, parse_place
from limpet_backend_rest.pool import Pool, is_permanent, reason_of
from limpet_backend_rest.proxy import proxy_for
from limpet_backend_rest.wire import Answer, ProtocolError

T = TypeVar("T")

DEFAULT_CONNECTIONS = 5
USER_AGENT = "limpet"


class RestBackend(Backend):
    """Each file is one URL: POST makes it, whole or not at all, GET and HEAD read it, DELETE removes it."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("connections", "how many connections are used at once", type="integer", default=DEFAULT_CONNECTIONS),
        Option("username", "who asks, unless the location says so", environment="RESTIC_REST_USERNAME"),
        Option("password", "the user's password on the server", environment="RESTIC_REST_PASSWORD", secret=True),
    )

    def __init__(
        self, place: Place, transport: Transport, *, connections: int = DEFAULT_CONNECTIONS, location: str | None = None
    ) -> None:
        self.place = place
        self.properties = BackendProperties(connections=connections)
        self._location = location or place.location
        proxy = proxy_for(place)
        self._pool = Pool(place, proxy, transport, connections)
        self._headers = _headers(place, transport)
        self._target = ""
        """What comes before the path of a request: to a proxy that does not lead on, the server."""
        if proxy is not None and place.scheme == "http":
            self._target = f"http://{place.authority}"
            self._headers += proxy.headers

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository at the URL; the server is not asked for anything yet."""
        place = parse_place(location, str(options.get("username") or ""), str(options.get("password") or ""))
        return cls(place, transport, connections=connection_count("rest", options.get("connections")))

    @property
    def location(self) -> str:
        return self._location

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._location!r})"

    def create(self) -> None:
        """Have the server make the folders; it says yes if they are there already."""
        self._ask(
            "create a repository", "POST", f"{self.place.path}/?create=true", self._expect_success, body=memoryview(b"")
        )

    def save(self, handle: Handle, content: Content) -> None:
        body = content.data.cast("B")
        path = self._path(handle)

        def receive(answer: Answer, what: str) -> None:
            if answer.status != 200:
                raise status_error(what, self._location, answer, saving=True)

        self._ask(f"save {handle}", "POST", path, receive, body=body)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        if length_bytes == 0 or (length_bytes is None and offset_bytes):
            # In HTTP no bytes are no range: the file's size says whether they are what is left of it.
            length_bytes = self._left(handle, offset_bytes, length_bytes)
            if length_bytes == 0:
                return b""
        data, is_sure = self._get(handle, offset_bytes, length_bytes)
        if not is_sure and len(data) != self.stat(handle).size_bytes:
            raise BackendError(f"cannot load {handle} at {self._location}: the answer ended after {len(data)} bytes")
        return data

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        if not buffer.nbytes:
            self._left(handle, offset_bytes, 0)
            return
        view = buffer.cast("B")
        self._get(handle, offset_bytes, view.nbytes, view)

    def stat(self, handle: Handle) -> FileInfo:
        def receive(answer: Answer, what: str) -> FileInfo:
            if answer.status == 404:
                raise missing(handle, self._location)
            if answer.status != 200:
                raise status_error(what, self._location, answer)
            if answer.length is None:
                raise BackendError(f"cannot {what} at {self._location}: the server gives no size", permanent=True)
            return FileInfo(handle.name, answer.length)

        return self._ask(f"stat {handle}", "HEAD", self._path(handle), receive)

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        listed = self._ask(f"list {kind.value}", "GET", f"{self.place.path}/{kind.value}/", self._receive_listing)
        for entry in listed:
            if isinstance(entry, FileInfo):
                yield entry
                continue
            try:  # API version 1 gives no sizes
                yield self.stat(Handle(kind, entry))
            except MissingFileError:
                continue  # removed meanwhile

    def remove(self, handle: Handle) -> None:
        """Look whether it is there first: rest-server says yes to the removal of what is missing."""
        self.stat(handle)
        self._delete_file(handle)

    def delete(self) -> None:
        """Remove every file, the config last; the protocol has no way to remove the empty folders."""
        for kind in (FileKind.LOCK, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK, FileKind.KEY):
            for info in self.list(kind):
                self._remove_if_there(Handle(kind, info.name))
        self._remove_if_there(CONFIG_HANDLE)

    def close(self) -> None:
        self._pool.close()

    def _delete_file(self, handle: Handle) -> None:
        def receive(answer: Answer, what: str) -> None:
            if answer.status == 404:
                raise missing(handle, self._location)
            self._expect_success(answer, what)

        self._ask(f"remove {handle}", "DELETE", self._path(handle), receive)

    def _remove_if_there(self, handle: Handle) -> None:
        try:
            self.remove(handle)
        except MissingFileError:
            return

    def _get(
        self, handle: Handle, offset: int, length: int | None, buffer: memoryview | None = None
    ) -> tuple[bytes, bool]:
        """The bytes of the range, or none if they went into the buffer, which is as long; whether these are all."""
        if offset < 0 or (length is not None and length < 0):
            raise self._beyond(handle, offset, length)
        last = "" if length is None else offset + length - 1

        def check_length(found: int) -> None:
            if length is not None and found < length:
                raise self._beyond(handle, offset, length)
            if length is not None and found > length:
                raise ProtocolError(f"the answer has {found} bytes instead of {length}")

        def receive(answer: Answer, what: str) -> tuple[bytes, bool]:
            if answer.status == 404:
                raise missing(handle, self._location)
            if answer.status == 416:
                raise self._beyond(handle, offset, length)
            if answer.status not in {200, 206}:
                raise status_error(what, self._location, answer)
            if answer.status == 200 and (offset or length not in {None, answer.length}):
                raise ProtocolError("the answer is the whole file instead of the range asked for")
            if answer.status == 206 and _range_start(answer) not in {None, offset}:
                raise ProtocolError("the answer is another range than was asked for")
            if answer.length is not None:
                check_length(answer.length)
            if buffer is not None and answer.length is not None:
                answer.read_into(buffer)
                return b"", True
            data = answer.read()
            check_length(len(data))
            if buffer is not None:
                buffer[:] = data
            return data, length is not None or not answer.ends_with_connection

        return self._ask(f"load {handle}", "GET", self._path(handle), receive, more=f"Range: bytes={offset}-{last}\r\n")

    def _left(self, handle: Handle, offset: int, length: int | None) -> int:
        """How many bytes there are from the offset on, `length` at most; the error of a load where it is beyond."""
        left = self.stat(handle).size_bytes - offset
        if offset < 0 or left < 0:
            raise self._beyond(handle, offset, length)
        return left if length is None else length

    def _beyond(self, handle: Handle, offset: int, length: int | None) -> BackendError:
        wanted = "the bytes" if length is None else f"{length} bytes"
        return BackendError(
            f"{handle} at {self._location} is too short: {wanted} from {offset} on were asked for", permanent=True
        )

    def _receive_listing(self, answer: Answer, what: str) -> Sequence[FileInfo] | Sequence[str]:
        if answer.status == 404 and not answer.headers.get("server", "").startswith("rclone/"):
            return []  # a folder that is not there yet; rclone says 404 also of what went wrong in it
        if answer.status != 200:
            raise status_error(what, self._location, answer)
        is_v2 = answer.headers.get("content-type", "").partition(";")[0].strip() == API_V2
        data = answer.read()
        try:
            return decode_listing(data) if is_v2 else decode_names(data)
        except ValueError as error:
            if answer.ends_with_connection:
                raise ProtocolError("the answer ended in its middle") from error
            raise BackendError(
                f"cannot {what} at {self._location}: its answer is no listing ({error}); is it a REST server?",
                permanent=True,
            ) from error

    def _expect_success(self, answer: Answer, what: str) -> None:
        if answer.status != 200:
            raise status_error(what, self._location, answer)

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
        """What `receive` makes of the answer to one request; only BackendError escapes."""
        if body is not None:
            more = f"Content-Type: application/octet-stream\r\nContent-Length: {body.nbytes}\r\n"
        head = f"{method} {self._target}{path} HTTP/1.1\r\n{self._headers}{more}\r\n".encode("ascii")
        try:
            return self._pool.request(head, body, lambda answer: receive(answer, what))
        except OSError as error:
            reason = f"{self._pool.peer}: {reason_of(error)}"
            raise BackendError(f"cannot {what} at {self._location}: {reason}", permanent=is_permanent(error)) from error
        except ProtocolError as error:
            raise BackendError(f"cannot {what} at {self._location}: {error}") from error

    def _path(self, handle: Handle) -> str:
        name = handle.name
        if handle.kind is FileKind.CONFIG:
            if name:
                raise BackendError(f"the config has no name, not {name!r}", permanent=True)
            return f"{self.place.path}/config"
        if not is_hex_id(name):
            raise BackendError(f"not the name of a file in a repository: {name!r}", permanent=True)
        return f"{self.place.path}/{handle.kind.value}/{name}"


def connection_count(scheme: str, value: OptionValue) -> int:
    """The value of the option `connections`; UsageError for what is no number from 1 on."""
    if value is None:
        return DEFAULT_CONNECTIONS
    if not isinstance(value, int) or value < 1:
        raise UsageError(f"{scheme}.connections must be a number from 1 on, not {value!r}")
    return value


def _headers(place: Place, transport: Transport) -> str:
    """Those that go with every request, each ended by CR LF."""
    agent = transport.user_agent or USER_AGENT
    if not agent.isascii() or not agent.isprintable():
        raise UsageError(f"not a name for a program in HTTP: {agent!r}; give one of plain letters and digits")
    lines = [f"Host: {place.authority}", f"User-Agent: {agent}", f"Accept: {API_V2}"]
    if place.authorization is not None:
        lines.append(f"Authorization: {place.authorization}")
    return "".join(f"{line}\r\n" for line in lines)


def _range_start(answer: Answer) -> int | None:
    """Where the range begins that the answer says it is; None if it does not say."""
    _, _, span = answer.headers.get("content-range", "").partition("bytes ")
    start = span.partition("-")[0].strip()
    return int(start) if start.isdigit() else None

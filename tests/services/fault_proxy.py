"""`FaultProxy`: HTTP/1.1 passed on to a real server, with faults at the requests that a test chooses."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import BinaryIO

from tests.services.loopback import PIECE_BYTES, LoopbackServer, reset

SLOW_PIECES = 10
SLOW_PAUSE_S = 0.02


class Kind(Enum):
    """What may go wrong with one request."""

    RESET = auto()
    """The connection is reset in the middle of the request, on both sides: the server has half of an upload."""
    LOST_ANSWER = auto()
    """The server does it, the connection is reset before the answer."""
    BLACK_HOLE = auto()
    """Taken and never answered, until the client ends the connection."""
    STATUS = auto()
    """Answered with an error by a load balancer: the server never sees it."""
    CUT_BODY = auto()
    """The answer ends in the middle of its body, before the length that its head names."""
    SHORT_BODY = auto()
    """Half of the body is missing, and the head agrees with that."""
    WHOLE_BODY = auto()
    """The range that was asked for is ignored: the whole file comes."""
    SLOW_BODY = auto()
    """The body comes in ten pieces with pauses: slow, and yet alive."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault; status, reason and headers are for STATUS."""

    kind: Kind
    status: int = 500
    headers: tuple[tuple[str, str], ...] = ()


RESET = Fault(Kind.RESET)
LOST_ANSWER = Fault(Kind.LOST_ANSWER)
BLACK_HOLE = Fault(Kind.BLACK_HOLE)
CUT_BODY = Fault(Kind.CUT_BODY)
SHORT_BODY = Fault(Kind.SHORT_BODY)
WHOLE_BODY = Fault(Kind.WHOLE_BODY)
SLOW_BODY = Fault(Kind.SLOW_BODY)


def status(code: int, *, retry_after_s: int | None = None) -> Fault:
    """An answer with this status, and with Retry-After if one is given."""
    return Fault(Kind.STATUS, code, () if retry_after_s is None else (("Retry-After", str(retry_after_s)),))


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def writes(self) -> bool:
        """Whether it stores something."""
        return self.method in {"POST", "PUT"}

    @property
    def reads(self) -> bool:
        """Whether it wants a body."""
        return self.method == "GET"


def any_request(_request: Request) -> bool:
    """Each one."""
    return True


@dataclass(slots=True)
class Plan:
    """One of the faults in turn at every `every`-th of the chosen requests, `times` times; `happened` counts.

    The request that was struck last is let through when it comes again, and the next one takes its turn: a retry
    that always makes the same number of requests would else meet the fault each time.
    """

    faults: tuple[Fault, ...]
    when: Callable[[Request], bool]
    every: int
    times: int | None
    happened: int = 0
    _since: int = 0
    _struck: tuple[str, str, str] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def strike(self, request: Request) -> Fault | None:
        """What shall go wrong with this request, which is counted."""
        with self._lock:
            if not self.when(request) or (self.times is not None and self.happened >= self.times):
                return None
            self._since += 1
            here = (request.method, request.path, request.headers.get("range", ""))
            if self._since < self.every or (self.every > 1 and here == self._struck):
                return None
            fault = self.faults[self.happened % len(self.faults)]
            self._since, self._struck = 0, here
            self.happened += 1
            return fault


class FaultProxy(LoopbackServer):
    """In front of the server at `target_port`. One connection to it for each of the client's; `requests` were seen."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        """Where connections go from now on: a server may come back on another port."""
        self._plans: list[Plan] = []
        self.requests: list[Request] = []
        super().__init__()

    def inject(
        self,
        *faults: Fault,
        every: int = 1,
        times: int | None = None,
        when: Callable[[Request], bool] = any_request,
    ) -> Plan:
        """From now on a fault strikes every `every`-th request for which `when` holds, `times` times or for ever."""
        plan = Plan(faults, when, every, times)
        with self._lock:
            self._plans.append(plan)
        return plan

    def heal(self) -> None:
        """Nothing goes wrong on purpose any more."""
        with self._lock:
            self._plans.clear()

    def serve(self, client: socket.socket) -> None:
        exchange = _Exchange(client, lambda: self.connect(self.target_port), self._fault_of)
        try:
            while exchange.run():
                pass
        finally:
            for connection in exchange.close():
                self.let_go(connection)

    def _fault_of(self, request: Request) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            plans = tuple(self._plans)
        due = [fault for plan in plans if (fault := plan.strike(request)) is not None]
        return due[0] if due else None


class _Exchange:
    """Requests and answers on one connection of a client, and on the one to the server that its first request makes."""

    def __init__(
        self,
        client: socket.socket,
        connect: Callable[[], socket.socket],
        choose: Callable[[Request], Fault | None],
    ) -> None:
        self._client = client
        self._connect = connect
        self._choose = choose
        self._asked = client.makefile("rb")
        self._to_server: socket.socket | None = None
        self._answers: BinaryIO | None = None

    def run(self) -> bool:
        """Whether another request may follow on these connections."""
        head = _read_head(self._asked)
        if head is None:
            return False
        method, path, _ = head.first.split(" ", 2)
        fault = self._choose(Request(method, path, head.headers))
        kind = fault.kind if fault else None
        if kind is Kind.BLACK_HOLE:
            while self._client.recv(PIECE_BYTES):
                pass
            return False
        if kind is Kind.RESET:
            return self._break_off(head)
        if kind is Kind.STATUS:
            assert fault is not None
            return self._refuse(head, method, fault)
        if kind is Kind.WHOLE_BODY:
            head = head.without("range")
        self._send_head(head)
        _pass_body(head, self._asked, self._server.sendall)
        return self._answer(method, kind, keep="close" not in head.headers.get("connection", ""))

    def close(self) -> Iterator[socket.socket]:
        """Let go of the streams; the connection to the server, if there is one, is the caller's to end."""
        self._asked.close()
        if self._answers is not None:
            self._answers.close()
        if self._to_server is not None:
            yield self._to_server

    @property
    def _server(self) -> socket.socket:
        if self._to_server is None:
            self._to_server = self._connect()
        return self._to_server

    @property
    def _answered(self) -> BinaryIO:
        if self._answers is None:
            self._answers = self._server.makefile("rb")
        return self._answers

    def _send_head(self, head: _Head) -> None:
        self._server.sendall(head.without("expect").encode())
        if head.headers.get("expect", "").lower() == "100-continue":
            self._client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _break_off(self, head: _Head) -> bool:
        half = int(head.headers.get("content-length", "0")) // 2
        if half:
            self._send_head(head)
            _pass(self._asked, half, self._server.sendall)
            reset(self._server)
        reset(self._client)
        return False

    def _refuse(self, head: _Head, method: str, fault: Fault) -> bool:
        if head.headers.get("expect", "").lower() == "100-continue":
            self._client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        _pass_body(head, self._asked, lambda _piece: None)
        body = b"" if method == "HEAD" else b"no luck\n"
        lines = [f"HTTP/1.1 {fault.status} On Purpose", "Content-Type: text/plain", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in fault.headers]
        self._client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return True

    def _answer(self, method: str, kind: Kind | None, *, keep: bool) -> bool:
        head = _read_head(self._answered)
        while head is not None and head.status in range(100, 200):
            head = _read_head(self._answered)
        if head is None:
            return False
        keep = keep and "close" not in head.headers.get("connection", "")
        bodyless = method == "HEAD" or head.status in {204, 304}
        if kind is None or (bodyless and kind is not Kind.LOST_ANSWER):
            self._client.sendall(head.encode())
            if bodyless:
                return keep
            ended = _pass_body(head, self._answered, self._client.sendall, until_end=True)
            return keep and not ended
        pieces: list[bytes] = []
        if not bodyless:
            _pass_body(head, self._answered, pieces.append, until_end=True)
        if kind is Kind.LOST_ANSWER:
            reset(self._client)
            return False
        return self._spoil(head, b"".join(pieces), kind) and keep

    def _spoil(self, head: _Head, raw: bytes, kind: Kind) -> bool:
        """Send what is left of the body as it went over the line; whether the connection may be used further."""
        if kind is Kind.SHORT_BODY and "content-length" in head.headers:
            raw = raw[: len(raw) // 2]
            head = head.without("content-length").plus("Content-Length", str(len(raw)))
        self._client.sendall(head.encode())
        if kind is Kind.CUT_BODY:
            self._client.sendall(raw[: len(raw) // 2])
            return False
        if kind is Kind.SLOW_BODY:
            step = max(1, -(-len(raw) // SLOW_PIECES))
            for start in range(0, len(raw), step):
                time.sleep(SLOW_PAUSE_S)
                self._client.sendall(raw[start : start + step])
            return True
        self._client.sendall(raw)
        return True


@dataclass(frozen=True, slots=True)
class _Head:
    """The first line and the headers of a message."""

    lines: tuple[str, ...]

    @property
    def first(self) -> str:
        return self.lines[0]

    @property
    def status(self) -> int:
        return int(self.first.split(" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        split = (line.partition(":") for line in self.lines[1:])
        return {name.strip().lower(): value.strip() for name, _, value in split}

    def without(self, name: str) -> _Head:
        return _Head(tuple(line for line in self.lines if not line.lower().startswith(f"{name}:")))

    def plus(self, name: str, value: str) -> _Head:
        return _Head((*self.lines, f"{name}: {value}"))

    def encode(self) -> bytes:
        return "\r\n".join([*self.lines, "", ""]).encode("latin-1")


def _read_head(stream: BinaryIO) -> _Head | None:
    """None where the stream has ended."""
    lines: list[str] = []
    while line := stream.readline():
        text = line.decode("latin-1").rstrip("\r\n")
        if not text and lines:
            return _Head(tuple(lines))
        if text:
            lines.append(text)
    return None


def _pass_body(head: _Head, stream: BinaryIO, write: Callable[[bytes], object], *, until_end: bool = False) -> bool:
    """Pass the body on as it is on the line; whether the stream ended with it."""
    headers = head.headers
    if "chunked" in headers.get("transfer-encoding", ""):
        while line := stream.readline():
            write(line)
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            _pass(stream, size + 2, write)
        while (line := stream.readline()) not in {b"\r\n", b"\n", b""}:
            write(line)
        write(line)
        return not line
    if "content-length" in headers:
        _pass(stream, int(headers["content-length"]), write)
        return False
    if until_end:
        while piece := stream.read(PIECE_BYTES):
            write(piece)
    return until_end


def _pass(stream: BinaryIO, size_bytes: int, write: Callable[[bytes], object]) -> None:
    while size_bytes:
        piece = stream.read(min(size_bytes, PIECE_BYTES))
        if not piece:
            raise ConnectionResetError("the message ended in the middle of its body")
        size_bytes -= len(piece)
        write(piece)

"""`Session`: many requests in flight at once over one stream to an SFTP server.

A thread receives. It puts the data of a read where the reader wants it and every other answer into the queue of the
exchange that asked. An exchange ends only when all its answers are in, or when the session is broken and the thread
gone: nobody writes into a buffer that its owner has back.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from limpet.errors import BackendError

from limpet_backend_sftp.packets import PacketReader
from limpet_backend_sftp.protocol import (
    HEADER,
    LENGTH,
    LIMITS,
    VERSION,
    Kind,
    Limits,
    ProtocolError,
    Reader,
    decode_extensions,
    decode_limits,
    decode_status,
    string,
)
from limpet_backend_sftp.stream import Bytes, Stream, StreamEndedError, StreamStuckError

FIRST_NUMBER = 16
"""Requests are numbered from here on. VERSION has the version where other packets have a number."""
DRAIN_LIMIT_S = 2.0
"""How long an exchange that broke off waits for its last answers before it ends the whole session."""


WINDOW_BYTES = 4 * 1024 * 1024
"""Of one file under way at once, as in restic's client; ssh's own window is 2 MiB for all."""


def window_of(step_bytes: int) -> int:
    """How many requests of this size make a full window."""
    return max(WINDOW_BYTES // step_bytes, 2)


@dataclass(slots=True)
class Answer:
    """One packet from the server; `filled_bytes` is what went into the buffer of a read instead of `body`."""

    number: int
    kind: int
    body: bytes = b""
    filled_bytes: int = 0

    def raise_refusal(self) -> None:
        """StatusError if that is what it is."""
        if self.kind == Kind.STATUS:
            error = decode_status(self.body)
            if error is not None:
                raise error

    def expect(self, kind: Kind) -> Reader:
        """Its body, if it is of this kind; StatusError for a refusal, else ProtocolError."""
        if self.kind != kind:
            self.raise_refusal()
            raise ProtocolError(f"a packet of kind {self.kind} came where one of kind {kind.value} belongs")
        return Reader(self.body)


class Session:
    """Thread-safe. When its stream ends it is broken for good: every call raises BackendError that says why."""

    def __init__(self, stream: Stream, place: str, timeout_s: float | None) -> None:
        self.place = place
        self.extensions: dict[bytes, bytes] = {}
        self.limits = Limits()
        self._stream = stream
        self._timeout_s = timeout_s
        self._numbers = itertools.count(FIRST_NUMBER)
        self._pending: dict[int, tuple[_Asker, memoryview | None]] = {}
        self._nobody = _Asker()
        self._sending = threading.Lock()
        self._error: BackendError | None = None
        self._greeted = False
        self._receiver = threading.Thread(target=self._receive, name=f"sftp {place}", daemon=True)

    def start(self) -> None:
        """Agree on version and limits; BackendError if there is no SFTP server at the other end."""
        self._receiver.start()
        try:
            with Exchange(self) as exchange:
                exchange.greet()
                self.extensions = decode_extensions(exchange.receive().body)
            self._greeted = True
            self._stream.greeted()
            if LIMITS in self.extensions:
                self.limits = decode_limits(self.ask(Kind.EXTENDED, string(LIMITS)).body)
        except ProtocolError as error:
            self.close()
            raise BackendError(f"{self.place}: the server is none for SFTP: {error}", permanent=True) from error
        except BaseException:
            self.close()
            raise

    @property
    def is_broken(self) -> bool:
        return self._error is not None

    def ask(self, kind: Kind, *pieces: Bytes) -> Answer:
        """The answer to one request; StatusError if that is a refusal."""
        with Exchange(self) as exchange:
            exchange.send(kind, *pieces)
            answer = exchange.receive()
        answer.raise_refusal()
        return answer

    def post(self, kind: Kind, *pieces: Bytes) -> None:
        """Send a request whose answer nobody waits for."""
        self.request(self._nobody, None, kind, pieces)

    def close(self) -> None:
        """End the stream and the thread. Idempotent."""
        if self._error is None:
            self._error = BackendError(f"the connection to {self.place} was closed")
        self._stream.close()
        self.wait_for_end()
        self._stream.release()

    def give_up(self, error: BackendError) -> None:
        """Break the session: what is under way ends in this error. Back when the thread has gone."""
        if self._error is None:
            self._error = error
        self._stream.abort()
        self.wait_for_end()

    def wait_for_end(self) -> None:
        """Back when the thread of a broken session has gone."""
        self._receiver.join()

    def error(self) -> BackendError:
        """Why it is broken: a new error each time, for several threads raise it."""
        error = self._error or BackendError(f"the connection to {self.place} was closed")
        return BackendError(str(error), permanent=error.permanent)

    def request(self, asker: _Asker, into: memoryview | None, kind: Kind, pieces: tuple[Bytes, ...]) -> int:
        """Send a request whose answer goes to the asker; its number. The last piece may be a large view."""
        number = next(self._numbers) & 0xFFFFFFFF
        head = b"".join(pieces[:-1]) if isinstance(pieces[-1], memoryview) else b"".join(pieces)
        tail = pieces[-1:] if isinstance(pieces[-1], memoryview) else ()
        length = HEADER.size - LENGTH.size + len(head) + sum(len(piece) for piece in tail)
        self.send(number, asker, into, (HEADER.pack(length, kind, number) + head, *tail))
        return number

    def send(self, number: int, asker: _Asker, into: memoryview | None, pieces: tuple[Bytes, ...]) -> None:
        """Send a packet whose answer, known by the number, goes to the asker."""
        self._pending[number] = (asker, into)
        if self._error is not None:  # looked at after the entry is there: who breaks the session does it the other way
            self._pending.pop(number, None)
            raise self.error()
        with self._sending:
            try:
                self._stream.send(pieces, self._timeout_s)
            except StreamStuckError as error:
                self.give_up(self._stuck())
                raise self.error() from error
            except StreamEndedError as error:
                self._stream.abort()
                self.wait_for_end()  # the thread finds out why
                raise self.error() from error
            except BaseException:  # Ctrl-C amid a packet: whatever came next would be taken for the rest of it
                self._stream.abort()
                raise

    def wait(self, answers: queue.SimpleQueue[Answer | None], limit_s: float | None = None) -> Answer:
        """The next answer; BackendError if the session breaks or no byte moves for its time limit, TimeoutError."""
        ends_at = None if limit_s is None else time.monotonic() + limit_s
        while True:
            now = time.monotonic()
            left_s = None if self._timeout_s is None else self._stream.moved_at + self._timeout_s - now
            if left_s is not None and left_s <= 0:
                self.give_up(self._stuck())
            if ends_at is not None:
                if now >= ends_at:
                    raise TimeoutError
                left_s = ends_at - now if left_s is None else min(left_s, ends_at - now)
            try:
                answer = answers.get(timeout=None if left_s is None else max(left_s, 0))
            except queue.Empty:
                continue
            if answer is None:
                raise self.error()
            return answer

    def _stuck(self) -> BackendError:
        return BackendError(f"no byte came from {self.place} for {self._timeout_s:g}s, the request is given up")

    # -- the receiving thread

    def _receive(self) -> None:
        packets = PacketReader(self._stream)
        try:
            while self._hand_out(packets):
                pass
        except ProtocolError as error:
            self._stream.abort()
            self._set_error(BackendError(f"{self.place}: {error}", permanent=not self._greeted))
        else:
            if self._error is None:
                self._set_error(self._stream.ending())
        while self._pending:
            _, (asker, _) = self._pending.popitem()
            asker.take(None)

    def _hand_out(self, packets: PacketReader) -> bool:
        """Hand the next packet to whom it belongs; False at the end of the stream."""
        header = packets.header()
        if header is None:
            return False
        length, kind, number = header
        if number not in self._pending:
            raise ProtocolError(f"the server answers what was not asked (packet of kind {kind})")
        asker, into = self._pending[number]
        if kind == Kind.DATA and into is not None:
            count = packets.number()
            if count is None:
                return False
            if count != length - LENGTH.size or count > into.nbytes:
                raise ProtocolError(f"the server sends {count} bytes where {into.nbytes} were asked for")
            if not packets.fill(into[:count]):
                return False
            answer = Answer(number, kind, filled_bytes=count)
        else:
            body = bytearray(length)
            if not packets.fill(memoryview(body)):
                return False
            answer = Answer(number, kind, bytes(body))
        del self._pending[number]  # only now: whom the end of the stream cuts off is told so
        asker.take(answer)
        return True

    def _set_error(self, error: BackendError) -> None:
        if self._error is None:
            self._error = error


class _Asker:
    """Whom an answer goes to; this one does not want it."""

    def take(self, answer: Answer | None) -> None:
        """Called by the receiving thread; None when the session has broken."""


class Exchange(_Asker):
    """The requests of one operation, and their answers in the order they come. Ends when all are in."""

    def __init__(self, session: Session) -> None:
        self.outstanding = 0
        self._session = session
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()

    def take(self, answer: Answer | None) -> None:
        self._answers.put(answer)

    def greet(self) -> None:
        """Send INIT."""
        self.outstanding += 1
        self._session.send(VERSION, self, None, (HEADER.pack(HEADER.size - LENGTH.size, Kind.INIT, VERSION),))

    def send(self, kind: Kind, *pieces: Bytes, into: memoryview | None = None) -> int:
        """Send a request; its number. The data of a READ goes into the buffer if there is one."""
        self.outstanding += 1
        return self._session.request(self, into, kind, pieces)

    def receive(self) -> Answer:
        """The next answer, whatever it says."""
        answer = self._session.wait(self._answers)
        self.outstanding -= 1
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        in_order = error is None or isinstance(error, Exception)
        while self.outstanding and not self._session.is_broken:
            try:
                self._session.wait(self._answers, None if in_order else DRAIN_LIMIT_S)
            except TimeoutError:
                self._session.give_up(BackendError(f"a request to {self._session.place} was broken off"))
            except BackendError:
                break
            self.outstanding -= 1
        if self.outstanding:
            self._session.wait_for_end()

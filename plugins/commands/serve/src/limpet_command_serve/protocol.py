"""restic's REST protocol, versions 1 and 2: which request gets which answer. Status codes are rest-server's.

What differs from rest-server is listed in docs/serve.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress

from limpet.contracts.backend import FileInfo, FileKind
from limpet.errors import BackendError, MissingFileError

from limpet_command_serve.body import Body, BrokenBodyError
from limpet_command_serve.channel import WouldBlock
from limpet_command_serve.connection import ClientGoneError, Connection
from limpet_command_serve.exchange import Answer, Exchange, Refusal
from limpet_command_serve.head import Head, encode_head, phrase, wants_creation
from limpet_command_serve.names import Shape, StoredFile, Target, parse_path
from limpet_command_serve.plain import plain
from limpet_command_serve.policy import Page, Policy
from limpet_command_serve.ranges import ByteRange, UnsatisfiableRangeError, parse_range
from limpet_command_serve.receiving import BYTES_A_STEP, Receiving
from limpet_command_serve.rights import Action
from limpet_command_serve.sending import SMALL_BYTES, Sending
from limpet_command_serve.store import BehindError, NoSpaceError, Outcome, Reading, Store

VERSION_1 = "application/vnd.x.restic.rest.v1"
VERSION_2 = "application/vnd.x.restic.rest.v2"
MOST_DISCARDED_BYTES = 256 * 1024
DISCARD_S = 2.0
QUICK_BYTES = 32 * 1024
"""Of an answer that is sent on the event loop, if all of it is in memory: that takes less than a change of threads."""

_WHOLE = (("Content-Type", "application/octet-stream"),)
_RANGED = (*_WHOLE, ("Accept-Ranges", "bytes"))
_ACTIONS = {
    Shape.REPOSITORY: {"POST": Action.CREATE},
    Shape.LISTING: {"GET": Action.LIST},
    Shape.FILE: {"HEAD": Action.STAT, "GET": Action.READ, "POST": Action.WRITE, "DELETE": Action.REMOVE},
}


class Request:
    """One request with all that it takes to answer it."""

    def __init__(self, connection: Connection, exchange: Exchange, head: Head, body: Body) -> None:
        self.connection = connection
        self.exchange = exchange
        self.head = head
        self.body = body
        self.keeps_connection = head.keeps_connection
        self.answer: Sending | None = None
        """The last one that was begun: only where nothing of it has gone out can there be another."""


class Protocol:
    """Answers requests out of one store."""

    def __init__(
        self, store: Store, policies: Sequence[Policy], *, verifies_uploads: bool, tell: Callable[[str], None]
    ) -> None:
        self._store = store
        self._policies = policies
        self._verifies_uploads = verifies_uploads
        self._tell = tell
        self._is_ending = False
        self._pages: dict[str, Page] = {}
        self._open_pages: set[str] = set()
        for policy in policies:
            self._pages.update(policy.pages())
            self._open_pages.update(policy.open_pages)
        self._doors = [policy for policy in policies if type(policy).admit is not Policy.admit]
        self._dated = 0, ""
        self._quick_buffer = memoryview(bytearray(QUICK_BYTES))
        self._paced_up = [policy for policy in policies if policy.upload_piece_bytes]
        self._paced_down = [policy for policy in policies if policy.download_piece_bytes]

    def end(self) -> None:
        """The server ends: answers from now on say that no further request is taken."""
        self._is_ending = True

    async def serve(self, request: Request) -> None:
        """Answer the request; ClientGoneError where the client does not wait for that."""
        exchange = request.exchange
        try:
            await self._route(request)
        except Refusal as refusal:
            await self.refuse(request, refusal.status, refusal.reason, refusal.headers)
        except BrokenBodyError as error:
            request.keeps_connection = False
            await self.refuse(request, 400, str(error))
        except MissingFileError as error:
            await self.refuse(request, 404, str(error))
        except NoSpaceError as error:
            self._tell(str(error))
            await self.refuse(request, 507, str(error))
        except BehindError as error:
            self._tell(str(error))
            await self.refuse(request, 502 if error.permanent else 503, str(error))
        except BackendError as error:
            self._tell(str(error))
            await self.refuse(request, 500, str(error))
        except ClientGoneError:
            raise
        except Exception as error:  # whatever it is, the client is told that it is not the client's
            self._tell(f"unexpected {type(error).__name__}: {error}")
            await self.refuse(request, 500, f"the server failed: unexpected {type(error).__name__}")
        finally:
            exchange.duration_s = time.time() - exchange.began_s

    async def refuse(
        self, request: Request, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Answer with one line that says why. Nothing more can be said where an answer is already under way."""
        request.exchange.reason = reason
        if request.answer is not None and request.answer.has_begun:
            request.keeps_connection = False
            return
        line = f"{phrase(status)}: {plain(reason)}\n" if reason else f"{phrase(status)}\n"
        body = line.encode("utf-8", "backslashreplace")
        await self._answer(
            request, Answer(status, body, (("Content-Type", "text/plain; charset=utf-8"), *headers), reason)
        )

    async def _route(self, request: Request) -> None:
        exchange, head = request.exchange, request.head
        page = self._pages.get(exchange.path)
        exchange.target = target = None if page else parse_path(exchange.path)
        allowed = _ACTIONS[target.shape] if target else {}
        exchange.action = allowed.get(head.method)
        if exchange.path not in self._open_pages:
            for policy in self._doors:
                await policy.admit(exchange)
        if page is not None:
            await self._answer(request, await page(exchange))
        elif target is None and exchange.path == "*" and head.method == "OPTIONS":
            await self._answer(request, Answer(200))
        elif target is None:
            raise Refusal(404, "there is no such place in a repository")
        elif exchange.action is None:
            raise Refusal(405, "", (("Allow", ", ".join(allowed)),))
        else:
            await self._act(request, target, exchange.action)

    async def _act(self, request: Request, target: Target, action: Action) -> None:
        if target.kind is None:
            await self._create(request, target)
            return
        if action is Action.LIST:
            await self._list(request, target, target.kind)
            return
        file = StoredFile(target.folders, target.kind, target.name)
        if action is Action.READ:
            await self._read(request, file)
        elif action is Action.STAT:
            status = await request.connection.run(lambda _: self._store.stat(file))
            await self._answer(request, _file_answer(status.size_bytes))
        elif action is Action.WRITE:
            await self._write(request, file)
        elif action is Action.REMOVE:
            await self._remove(request, file)

    async def _create(self, request: Request, target: Target) -> None:
        if not wants_creation(request.head.query):
            raise Refusal(400, "a repository is made with ?create=true")
        await request.connection.run(lambda _: self._store.create(target.folders))
        await self._answer(request, Answer(200))

    async def _list(self, request: Request, target: Target, kind: FileKind) -> None:
        has_sizes = request.head.headers.get("accept") == VERSION_2

        def encoded(_buffer: memoryview) -> bytes:
            found = self._store.list(target.folders, kind)
            return encode_listing(() if request.exchange.hides_listing else found, has_sizes=has_sizes)

        body = await request.connection.run(encoded)
        content_type = VERSION_2 if has_sizes else VERSION_1
        await self._answer(request, Answer(200, body, (("Content-Type", content_type),)))

    async def _read(self, request: Request, file: StoredFile) -> None:
        await self._settle_body(request)
        if not self._paced_down:
            sending = self._send_cached(request, file)
            if sending is not None:
                if not sending.is_complete:
                    await self._send_all(request, sending)
                return
        download = _Download(lambda: self._store.open(file), lambda reading: self._begin_file(request, file, reading))
        try:
            # What is small goes out in the step that opens it: a change of threads costs more than its bytes.
            begin = download.begin if self._paced_down else download.begin_and_send
            await self._send_all(request, await request.connection.move(begin))
        finally:
            if download.is_open:
                await request.connection.run(download.close)

    def _send_cached(self, request: Request, file: StoredFile) -> Sending | None:
        """Send a small answer, without any wait; None, and nothing is sent, where it is not small or not in memory."""
        reading = self._store.open_cached(file)
        if reading is None:
            return None
        with reading:
            sending = self._begin_file(request, file, reading)
            if not sending.fill(self._quick_buffer):
                return None
        request.connection.send_now(sending.send_filled)
        return sending

    def _begin_file(self, request: Request, file: StoredFile, reading: Reading) -> Sending:
        size_bytes = reading.size_bytes
        wanted = None
        if file.kind is not FileKind.CONFIG:
            if request.head.headers.get("if-match", "*").strip() != "*":
                raise Refusal(412, "no file has a tag")
            if request.head.headers.get("if-none-match", "").strip() == "*":
                return self._begin_answer(request, Answer(304))
            try:
                wanted = parse_range(_range_header(request.head), size_bytes)
            except UnsatisfiableRangeError:
                raise Refusal(
                    416, f"the file has {size_bytes} bytes", (("Content-Range", f"bytes */{size_bytes}"),)
                ) from None
        reading.expect(wanted.start if wanted else 0, wanted.end - wanted.start if wanted else size_bytes)
        answer = _file_answer(size_bytes, wanted, has_ranges=file.kind is not FileKind.CONFIG)
        return self._begin_answer(request, answer, reading, wanted)

    async def _write(self, request: Request, file: StoredFile) -> None:
        receiving = Receiving(
            request.exchange, file, request.body, self._store, self._policies, verifies=self._verifies_uploads
        )
        try:
            outcome = await self._receive(request, receiving)
        except BaseException:
            await request.connection.run(receiving.close)
            raise
        if outcome is Outcome.OTHER:
            raise Refusal(403, "the file exists and has another content: files are never replaced")
        await self._answer(request, Answer(200))

    async def _receive(self, request: Request, receiving: Receiving) -> Outcome:
        exchange, connection = request.exchange, request.connection
        if request.head.wants_continue:
            await connection.run(receiving.begin)
            await connection.send(encode_head(100, ()))
        piece_bytes = min([BYTES_A_STEP, *(policy.upload_piece_bytes or BYTES_A_STEP for policy in self._paced_up)])
        while True:
            before = exchange.received_bytes
            outcome = await connection.move(
                lambda buffer: receiving.step(buffer, before + piece_bytes)  # noqa: B023  # called before it changes
            )
            for policy in self._paced_up:
                await policy.uploaded(exchange, exchange.received_bytes - before)
            if outcome is not None:
                return outcome

    async def _remove(self, request: Request, file: StoredFile) -> None:
        def removed(_buffer: memoryview) -> int | None:
            try:
                status = self._store.stat(file)
                with ExitStack() as closing:
                    guards = [
                        guard for policy in self._policies if (guard := policy.removing(request.exchange, status))
                    ]
                    for guard in guards:
                        closing.enter_context(guard)
                    removal = self._store.remove(file)
                    for guard in guards:
                        guard.freed(removal.freed_bytes)
                return removal.size_bytes
            except MissingFileError:
                return None  # Asked for twice: the answer to the first request got lost.

        request.exchange.removed_bytes = await request.connection.run(removed)
        await self._answer(request, Answer(200))

    async def _answer(self, request: Request, answer: Answer) -> None:
        """Send an answer whose body is in memory."""
        await self._settle_body(request)
        sending = self._begin_answer(request, answer)
        if sending.missing_bytes < SMALL_BYTES and not self._paced_down:
            request.connection.send_now(lambda: sending.step(self._quick_buffer))
        await self._send_all(request, sending)

    def _begin_answer(
        self, request: Request, answer: Answer, reading: Reading | None = None, wanted: ByteRange | None = None
    ) -> Sending:
        exchange = request.exchange
        exchange.status = answer.status
        if self._is_ending:
            request.keeps_connection = False
        has_body = request.head.method != "HEAD" and answer.status != 304
        headers = [*answer.headers, ("Date", self._date(exchange.began_s))]
        if answer.status != 304:
            headers.append(
                ("Content-Length", str(len(answer.body) if answer.size_bytes is None else answer.size_bytes))
            )
        if not request.keeps_connection:
            headers.append(("Connection", "close"))
        head = encode_head(answer.status, headers, answer.reason)
        request.answer = Sending(
            request.connection.channel, exchange, head, answer.body if has_body else b"", reading=reading, wanted=wanted
        )
        return request.answer

    def _date(self, time_s: float) -> str:
        """As HTTP has it; made once a second."""
        second = int(time_s)
        if second != self._dated[0]:
            self._dated = second, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second))
        return self._dated[1]

    async def _send_all(self, request: Request, sending: Sending) -> None:
        piece_bytes = min((policy.download_piece_bytes or 0 for policy in self._paced_down), default=None)
        while not sending.is_complete:
            for policy in self._paced_down:
                await policy.downloading(request.exchange, min(piece_bytes or 0, sending.missing_bytes))
            until = None if piece_bytes is None else request.exchange.sent_bytes + piece_bytes
            await request.connection.move(lambda buffer: sending.step(buffer, until))  # noqa: B023  # as above

    async def _settle_body(self, request: Request) -> None:
        """Take the rest of a short body, so that the connection can go on; otherwise it ends with the answer."""
        if request.body.is_complete:
            return
        size_bytes = request.body.size_bytes
        if request.head.wants_continue or size_bytes is None or size_bytes > MOST_DISCARDED_BYTES:
            request.keeps_connection = False
            return
        try:
            async with asyncio.timeout(DISCARD_S):
                while not request.body.is_complete:
                    await request.connection.move(request.body.read)
        except (TimeoutError, BrokenBodyError):
            request.keeps_connection = False


class _Download:
    """One file on its way out. Its methods run in worker threads, one at a time; `close` in any case."""

    def __init__(self, open_file: Callable[[], Reading], begin_answer: Callable[[Reading], Sending]) -> None:
        self._open_file = open_file
        self._begin_answer = begin_answer
        self._reading: Reading | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is anything to close."""
        return self._reading is not None

    def begin(self, _buffer: memoryview) -> Sending:
        """Open the file, and make the head of the answer."""
        self._reading = self._open_file()
        return self._begin_answer(self._reading)

    def begin_and_send(self, buffer: memoryview) -> Sending:
        """Likewise, and send what goes at once."""
        sending = self.begin(buffer)
        with suppress(WouldBlock):
            sending.step(buffer)
        if sending.is_complete:
            self.close(buffer)
        return sending

    def close(self, _buffer: memoryview) -> None:
        """Let go of the file. Idempotent."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()


def encode_listing(files: Iterable[FileInfo], *, has_sizes: bool) -> bytes:
    """JSON of names, or of names and sizes. Names are ids: there is nothing to escape."""
    if has_sizes:
        return b"[%s]" % b",".join(b'{"name":"%s","size":%d}' % (f.name.encode(), f.size_bytes) for f in files)
    return b"[%s]" % b",".join(b'"%s"' % file.name.encode() for file in files)


def _file_answer(size_bytes: int, wanted: ByteRange | None = None, *, has_ranges: bool = False) -> Answer:
    headers = _RANGED if has_ranges else _WHOLE
    if wanted is None:
        return Answer(200, headers=headers, size_bytes=size_bytes)
    of_range = ("Content-Range", f"bytes {wanted.start}-{wanted.end - 1}/{size_bytes}")
    return Answer(206, headers=(*headers, of_range), size_bytes=wanted.end - wanted.start)


def _range_header(head: Head) -> str | None:
    """Not with If-Range: no tag or date of a client can be that of the file."""
    return None if "if-range" in head.headers else head.headers.get("range")

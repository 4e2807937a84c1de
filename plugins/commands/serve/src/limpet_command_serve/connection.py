"""One connection of a client: waits for its socket on the event loop, and never longer than it may."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TypeVar

import h11

from limpet_command_serve.body import Body, ChunkedBody, SizedBody
from limpet_command_serve.channel import Channel, WouldBlock
from limpet_command_serve.head import (
    MOST_HEAD_BYTES,
    BadRequestError,
    Head,
    find_head_end,
    parse_head,
    parse_plain_head,
)
from limpet_command_serve.waiting import DeadlineError, Wait
from limpet_command_serve.workers import Work, Workers

RECEIVE_BYTES = 4096
LINGER_S = 5.0
"""How long what a client still sends is thrown away, so that it gets to read why."""
MOST_DISCARDED_BYTES = 64 << 20
DISCARDED_PIECES_A_STEP = 16

_NO_BUFFER = memoryview(b"")
R = TypeVar("R")


class ClientGoneError(Exception):
    """The client has closed the connection, or did nothing for too long."""


class Connection:
    """One channel and who waits for it. Used by one task."""

    def __init__(
        self,
        channel: Channel,
        client: str,
        workers: Workers,
        wait: Wait,
        *,
        stall_timeout_s: float,
        alone: str | None = None,
    ) -> None:
        """`alone` is one more header that may come once, see `parse_head`."""
        self.channel = channel
        self.client = client
        self._workers = workers
        self._wait = wait
        self._loop = asyncio.get_running_loop()
        self._stall_timeout_s = stall_timeout_s
        self._alone = alone
        self._rest = b""
        """What has come of the next request."""
        self._discarded_bytes = 0

    async def shake_hands(self, timeout_s: float) -> None:
        """Agree on keys. ClientGoneError where that fails."""
        await self.move(lambda _: self.channel.shake_hands(), self._loop.time() + timeout_s)

    async def next_request(self, idle_timeout_s: float, header_timeout_s: float) -> tuple[Head, Body] | None:
        """The next request, whose body has yet to be read; None where no further one comes.

        BadRequestError for what is no HTTP.
        """
        if not self._rest:
            self._rest = await self._receive(self._loop.time() + idle_timeout_s)
        if not self._rest:
            return None
        plain = parse_plain_head(self._rest)
        if plain is not None:
            head, first = plain
            return head, SizedBody(self.channel, 0, first)
        return await self._read_head(self._loop.time() + header_timeout_s)

    def keep(self, rest: bytes) -> None:
        """These bytes belong to the next request."""
        self._rest = rest

    async def run(self, work: Work[R]) -> R:
        """Do it in a worker thread."""
        return await self._workers.run(work)

    async def run_quick(self, work: Work[R]) -> R:
        """Do it at once where that is quick, else in a worker thread; errors of the socket as of `move`."""
        try:
            return await self._workers.run_quick(work)
        except OSError as error:
            raise ClientGoneError(str(error)) from error

    async def move(self, step: Work[R], deadline_s: float = math.inf) -> R:
        """Do the step in a worker thread, again and again as long as it waits for the socket.

        ClientGoneError where the connection breaks, stands still for too long, or waits beyond the deadline.
        """
        while True:
            try:
                return await self._workers.run(step)
            except WouldBlock as block:
                await self._ready(block, min(deadline_s, self._loop.time() + self._stall_timeout_s))
            except OSError as error:  # The store's are errors of its own: this is the socket's.
                raise ClientGoneError(str(error)) from error

    async def send(self, data: bytes) -> None:
        """Send a few bytes."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.channel.send(view) :]
            except WouldBlock as block:
                await self._ready(block, self._loop.time() + self._stall_timeout_s)
            except OSError as error:
                raise ClientGoneError(str(error)) from error

    async def send_now(self, step: Work[None]) -> None:
        """Do the step here, for a few bytes: what does not go at once is left to `move`."""
        try:
            step(_NO_BUFFER)
        except WouldBlock:
            return
        except OSError as error:
            raise ClientGoneError(str(error)) from error

    async def linger(self) -> None:
        """End our side, and throw away what comes, for a while: otherwise the client may never see the answer."""
        with suppress(ClientGoneError, OSError):
            self.channel.end_sending()
            deadline_s = self._loop.time() + LINGER_S
            while await self.move(self._discard, deadline_s):
                pass

    def close(self) -> None:
        """Idempotent."""
        self._wait.close()
        with suppress(OSError):
            self.channel.close()

    async def _read_head(self, deadline_s: float) -> tuple[Head, Body] | None:
        while not find_head_end(self._rest):
            received = await self._receive(deadline_s)
            if not received:
                return None
            self._rest += received
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
        try:
            connection.receive_data(self._rest)
            self._rest = b""
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequestError(str(error), error.error_status_hint) from error
        if not isinstance(event, h11.Request):
            return None
        head = parse_head(event, self._alone)
        if head.size_bytes is None:
            return head, ChunkedBody(self.channel, connection)
        return head, SizedBody(self.channel, head.size_bytes, connection.trailing_data[0])

    async def _receive(self, deadline_s: float) -> bytes:
        while True:
            try:
                return self._received()
            except WouldBlock as block:
                await self._ready(block, deadline_s)
            except OSError as error:
                raise ClientGoneError(str(error)) from error

    def _received(self) -> bytes:
        # Not a buffer for each connection: thousands of them idle.
        buffer = memoryview(bytearray(RECEIVE_BYTES))
        return bytes(buffer[: self.channel.receive(buffer)])

    def _discard(self, buffer: memoryview) -> bool:
        """Whether the client may still send."""
        for _ in range(DISCARDED_PIECES_A_STEP):
            count = self.channel.receive(buffer)
            self._discarded_bytes += count
            if not count or self._discarded_bytes > MOST_DISCARDED_BYTES:
                return False
        return True

    async def _ready(self, block: WouldBlock, deadline_s: float) -> None:
        try:
            await self._wait.until(block.wanted, deadline_s)
        except DeadlineError as error:
            raise ClientGoneError("nothing came or went for too long") from error

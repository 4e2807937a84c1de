"""One connection of a client: waits for its socket on the event loop, and never longer than it may."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from limpet_command_serve.body import Body, ChunkedBody, SizedBody
from limpet_command_serve.channel import Channel, Ready, WouldBlock
from limpet_command_serve.half_heads import HalfHeads
from limpet_command_serve.head import (
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
        halves: HalfHeads,
        *,
        stall_timeout_s: float,
        alone: str | None = None,
    ) -> None:
        """`alone` is one more header that may come once, see `parse_head`."""
        self.channel = channel
        self.client = client
        self._workers = workers
        self._wait = wait
        self._halves = halves
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
            return head, self._body_of(head, first)
        return await self._read_head(self._loop.time() + header_timeout_s)

    def keep(self, rest: bytes) -> None:
        """These bytes belong to the next request."""
        self._rest = rest

    async def run(self, work: Work[R]) -> R:
        """Do it in a worker thread."""
        return await self._workers.run(work)

    async def move(self, step: Work[R], deadline_s: float = math.inf) -> R:
        """Do the step in a worker thread, again and again as long as it waits for the socket.

        ClientGoneError where the connection breaks, stands still for too long, or waits beyond the deadline.
        """
        while True:
            try:
                return await self._workers.run(step)
            except WouldBlock as block:
                await self._ready(block.wanted, min(deadline_s, self._loop.time() + self._stall_timeout_s))
            except OSError as error:  # The store's are errors of its own: this is the socket's.
                raise ClientGoneError(str(error)) from error

    async def send(self, data: bytes) -> None:
        """Send a few bytes."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.channel.send(view) :]
            except WouldBlock as block:
                await self._ready(block.wanted, self._loop.time() + self._stall_timeout_s)
            except OSError as error:
                raise ClientGoneError(str(error)) from error

    def send_now(self, send: Callable[[], None]) -> None:
        """Send a few bytes here: what does not go at once is left to `move`."""
        try:
            send()
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

    def give_up(self) -> None:
        """End the wait for the client, as if its time were over."""
        self._wait.expire()

    def close(self) -> None:
        """Idempotent."""
        self._wait.close()
        with suppress(OSError):
            self.channel.close()

    async def _read_head(self, deadline_s: float) -> tuple[Head, Body] | None:
        try:
            while not (end := find_head_end(self._rest)):
                self._halves.hold(self, len(self._rest))
                received = await self._receive(deadline_s)
                if not received:
                    return None
                self._rest += received
        finally:
            self._halves.release(self)
        head = parse_head(self._rest[:end], self._alone)
        return head, self._body_of(head, self._rest[end:])

    def _body_of(self, head: Head, first: bytes) -> Body:
        self._rest = b""
        if head.size_bytes is None:
            return ChunkedBody(self.channel, first)
        return SizedBody(self.channel, head.size_bytes, first)

    async def _receive(self, deadline_s: float) -> bytes:
        if self.channel.reads_ahead:
            await asyncio.sleep(0)  # Others have their turn, whatever has come already.
        else:  # Hardly ever anything is there yet.
            await self._ready(Ready.TO_READ, deadline_s)
        while True:
            try:
                return self.channel.receive_bytes(RECEIVE_BYTES)
            except WouldBlock as block:
                await self._ready(block.wanted, deadline_s)
            except OSError as error:
                raise ClientGoneError(str(error)) from error

    def _discard(self, buffer: memoryview) -> bool:
        """Whether the client may still send."""
        for _ in range(DISCARDED_PIECES_A_STEP):
            count = self.channel.receive(buffer)
            self._discarded_bytes += count
            if not count or self._discarded_bytes > MOST_DISCARDED_BYTES:
                return False
        return True

    async def _ready(self, wanted: Ready, deadline_s: float) -> None:
        try:
            await self._wait.until(wanted, deadline_s)
        except DeadlineError as error:
            raise ClientGoneError("nothing came or went for too long") from error

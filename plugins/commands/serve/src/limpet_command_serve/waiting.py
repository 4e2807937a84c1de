"""Waits for sockets on the event loop, each until a deadline, at little cost.

asyncio makes and drops a handle, a key of its selector and a timer for each wait, and wakes who waits one turn of its
loop later: half of what a small download took. Here a socket is registered once and stays armed, who waits for it is
woken in the same turn, and a timer is set late rather than anew.
"""

from __future__ import annotations

import asyncio
import math
import select
import selectors
from collections.abc import Mapping
from contextlib import suppress

from limpet_command_serve.channel import Ready

MOST_EVENTS = 256
"""Taken at once; then others of the loop have their turn."""
_EVENTS = {Ready.TO_READ: select.EPOLLIN | select.EPOLLRDHUP, Ready.TO_WRITE: select.EPOLLOUT}
_DISARMED = select.EPOLLONESHOT
"""Tells of errors once more at most, and of nothing else."""


class DeadlineError(Exception):
    """The socket was not ready in time."""


class Sockets(selectors.BaseSelector):
    """The selector of an event loop, with the sockets for which a `Wait` waits beside the files of asyncio's own."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}
        """asyncio's."""
        self._waits: dict[int, Wait] = {}

    def add(self, descriptor: int) -> Wait:
        """The one who waits for this socket, until it is closed; that comes before the socket's own end."""
        self._epoll.register(descriptor, _DISARMED)
        wait = self._waits[descriptor] = Wait(descriptor, self)
        return wait

    def arm(self, descriptor: int, wanted: Ready | None) -> None:
        """Tell of the socket whenever it is ready for that; None is never."""
        self._epoll.modify(descriptor, _DISARMED if wanted is None else _EVENTS[wanted])

    def remove(self, descriptor: int) -> None:
        """Idempotent."""
        if self._waits.pop(descriptor, None) is not None:
            with suppress(OSError, ValueError):
                self._epoll.unregister(descriptor)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What asyncio's files are ready for. Who waits for a socket is woken here: asyncio's turn comes after."""
        found = []
        for descriptor, events in self._epoll.poll(None if timeout is None else max(0.0, timeout), MOST_EVENTS):
            wait = self._waits.get(descriptor)
            if wait is not None:
                wait.end()
            elif descriptor in self._keys:
                key = self._keys[descriptor]
                read = selectors.EVENT_READ if events & ~select.EPOLLOUT else 0
                write = selectors.EVENT_WRITE if events & ~select.EPOLLIN else 0
                found.append((key, (read | write) & key.events))
        return found

    def register(self, fileobj: int, events: int, data: object = None) -> selectors.SelectorKey:  # type: ignore[override]
        """asyncio has descriptors alone."""
        read = select.EPOLLIN if events & selectors.EVENT_READ else 0
        write = select.EPOLLOUT if events & selectors.EVENT_WRITE else 0
        self._epoll.register(fileobj, read | write)
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, fileobj, events, data)
        return key

    def unregister(self, fileobj: int) -> selectors.SelectorKey:  # type: ignore[override]  # as above
        key = self._keys.pop(fileobj)
        with suppress(OSError):  # it may be closed
            self._epoll.unregister(fileobj)
        return key

    def get_map(self) -> Mapping[int, selectors.SelectorKey]:  # type: ignore[override]  # as above
        return self._keys

    def close(self) -> None:
        for wait in [*self._waits.values()]:
            wait.close()
        self._epoll.close()


class Wait:
    """Waits for one socket, one task at a time. Its timer stays when a deadline is met, and looks again when it rings.

    So a connection that is asked every millisecond, with 120 s for each request, sets one timer every 120 s.
    """

    def __init__(self, descriptor: int, sockets: Sockets) -> None:
        self._descriptor = descriptor
        self._sockets = sockets
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] | None = None
        self._armed: Ready | None = None
        self._deadline_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def until(self, wanted: Ready, deadline_s: float) -> None:
        """Return when the socket is ready; DeadlineError where it is not by then, on the clock of the loop."""
        if deadline_s <= self._loop.time():
            raise DeadlineError
        ready = self._ready = self._loop.create_future()
        self._deadline_s = deadline_s
        if deadline_s < (self._timer.when() if self._timer else math.inf):
            self._set_timer(deadline_s)
        if self._armed is not wanted:
            self._sockets.arm(self._descriptor, wanted)
            self._armed = wanted
        try:
            await ready
        finally:
            self._ready = None

    def end(self) -> None:
        """The socket is ready. As long as nobody waits for it, it is told of no more."""
        if self._ready is None:
            if self._armed is not None:
                self._armed = None
                self._sockets.arm(self._descriptor, None)
        elif not self._ready.done():
            self._ready.set_result(None)

    def expire(self) -> None:
        """The deadline of who waits is now."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(DeadlineError())

    def close(self) -> None:
        """Idempotent."""
        self._sockets.remove(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, deadline_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._ready is None or self._ready.done():
            return
        if self._deadline_s > self._loop.time():
            self._set_timer(self._deadline_s)
        else:
            self.expire()

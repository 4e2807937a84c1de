"""Waits for sockets on the event loop, each until a deadline, at little cost.

asyncio makes and drops a handle, a key of its selector and a timer for each wait: a third of what a small download
took. Here a socket is registered once, and is armed for a wait by one call; a timer is set late rather than anew.
"""

from __future__ import annotations

import asyncio
import math
import select
from contextlib import suppress

from limpet_command_serve.channel import Ready

MOST_EVENTS = 256
"""Taken at once; then others of the loop have their turn."""
_EVENTS = {
    Ready.TO_READ: select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT,
    Ready.TO_WRITE: select.EPOLLOUT | select.EPOLLONESHOT,
}


class DeadlineError(Exception):
    """The socket was not ready in time."""


class Sockets:
    """All sockets that one event loop waits for: an epoll of their own, which the loop sees as one descriptor."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waits: dict[int, Wait] = {}

    def start(self) -> None:
        """On the running loop; before anything is waited for."""
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._look)

    def add(self, descriptor: int) -> Wait:
        """The one who waits for this socket, until it is closed; that comes before the socket's own end."""
        self._epoll.register(descriptor, select.EPOLLONESHOT)
        wait = self._waits[descriptor] = Wait(descriptor, self)
        return wait

    def arm(self, descriptor: int, wanted: Ready) -> None:
        """Tell of the socket once, as soon as it is ready."""
        self._epoll.modify(descriptor, _EVENTS[wanted])

    def remove(self, descriptor: int) -> None:
        """Idempotent."""
        if self._waits.pop(descriptor, None) is not None:
            with suppress(OSError):
                self._epoll.unregister(descriptor)

    def close(self) -> None:
        """End all waits. Idempotent."""
        for wait in [*self._waits.values()]:
            wait.close()
        if not self._epoll.closed:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _look(self) -> None:
        for descriptor, _ in self._epoll.poll(0, MOST_EVENTS):
            wait = self._waits.get(descriptor)
            if wait is not None:
                wait.end()


class Wait:
    """Waits for one socket, one task at a time. Its timer stays when a deadline is met, and looks again when it rings.

    So a connection that is asked every millisecond, with 120 s for each request, sets one timer every 120 s.
    """

    def __init__(self, descriptor: int, sockets: Sockets) -> None:
        self._descriptor = descriptor
        self._sockets = sockets
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] | None = None
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
        self._sockets.arm(self._descriptor, wanted)
        try:
            await ready
        finally:
            self._ready = None

    def end(self) -> None:
        """The socket is ready. Nobody may wait for it any more."""
        if self._ready is not None and not self._ready.done():
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

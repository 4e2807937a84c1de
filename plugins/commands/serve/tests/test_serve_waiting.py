"""Waiting for sockets: until they are ready, and never beyond the deadline."""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing

import pytest
from limpet_command_serve.channel import Ready
from limpet_command_serve.waiting import DeadlineError, Sockets, Wait

FAR_S = 60.0

Story = Callable[[Wait, socket.socket], Awaitable[None]]


def test_a_wait_ends_when_bytes_come_and_can_be_repeated() -> None:
    """A connection that is not told of its second request would hang with it."""

    async def story(wait: Wait, peer: socket.socket) -> None:
        for _ in range(3):  # Nobody reads what came: it is told of again.
            asyncio.get_running_loop().call_soon(peer.send, b"a")
            await asyncio.wait_for(wait.until(Ready.TO_READ, _in(FAR_S)), FAR_S)
        await asyncio.wait_for(wait.until(Ready.TO_WRITE, _in(FAR_S)), FAR_S)

    _run(story)


def test_a_wait_ends_when_the_client_goes() -> None:
    """A connection whose client went would keep its place until its deadline."""

    async def story(wait: Wait, peer: socket.socket) -> None:
        peer.close()
        await asyncio.wait_for(wait.until(Ready.TO_READ, _in(FAR_S)), FAR_S)

    _run(story)


@pytest.mark.parametrize("before_s", [[], [FAR_S], [0.01], [FAR_S, 0.01]])
def test_every_deadline_holds(before_s: list[float]) -> None:
    """The timer of an earlier wait, later or sooner than this one's, must not let a silent client stay."""

    async def story(wait: Wait, peer: socket.socket) -> None:
        for timeout_s in before_s:
            await wait.until(Ready.TO_WRITE, _in(timeout_s))
        began_s = _in(0)
        with pytest.raises(DeadlineError):
            await asyncio.wait_for(wait.until(Ready.TO_READ, _in(0.1)), FAR_S)
        assert _in(0) - began_s >= 0.1

    _run(story)


def test_nothing_is_waited_for_beyond_the_deadline() -> None:
    """A client that sends its head byte by byte is always ready; its time is over all the same."""

    async def story(wait: Wait, peer: socket.socket) -> None:
        peer.send(b"a")
        with pytest.raises(DeadlineError):
            await wait.until(Ready.TO_READ, _in(0))

    _run(story)


def test_a_socket_that_nobody_waits_for_is_told_of_no_more() -> None:
    """While a body is read in a thread its socket is ready all the time: the loop would do nothing but turn."""
    turns = 0

    class Counted(Sockets):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            nonlocal turns
            turns += 1
            return super().select(timeout)

    async def story(wait: Wait, peer: socket.socket) -> None:
        peer.send(b"a")
        await wait.until(Ready.TO_READ, _in(FAR_S))
        await asyncio.sleep(0.3)
        assert turns < 100
        await wait.until(Ready.TO_READ, _in(FAR_S))
        peer.close()
        await wait.until(Ready.TO_READ, _in(FAR_S))

    _run(story, Counted())


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def _run(story: Story, sockets: Sockets | None = None) -> None:
    sockets = sockets or Sockets()

    async def run() -> None:
        ours, peer = socket.socketpair()
        with ours, peer, closing(sockets.add(ours.fileno())) as wait:
            await story(wait, peer)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(sockets)) as runner:
        runner.run(run())

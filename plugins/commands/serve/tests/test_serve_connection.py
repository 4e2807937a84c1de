"""One connection's requests, as far as they concern other connections."""

from __future__ import annotations

import asyncio
import socket

import pytest
from limpet_command_serve.channel import PlainChannel
from limpet_command_serve.connection import Connection
from limpet_command_serve.half_heads import HalfHeads
from limpet_command_serve.waiting import Sockets
from limpet_command_serve.workers import Workers

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
REQUESTS = 1000
LIMIT_S = 60.0


class PlainAhead(PlainChannel):
    """As TLS: asked for bytes before the socket tells of any."""

    reads_ahead = True


@pytest.mark.parametrize("channel_class", [PlainChannel, PlainAhead])
def test_many_requests_at_once_leave_others_their_turn(channel_class: type[PlainChannel]) -> None:
    """Over TLS a client that had not signed in, but sent on and on, had the server for itself."""
    sockets = Sockets()

    async def run() -> int:
        ours, peer = socket.socketpair()
        with ours, peer:
            ours.setblocking(False)
            peer.sendall(REQUEST * REQUESTS)
            channel = channel_class(ours)
            wait = sockets.add(channel.descriptor)
            connection = Connection(channel, "", Workers(), wait, HalfHeads(), stall_timeout_s=LIMIT_S)
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            task = asyncio.create_task(other())
            for _ in range(REQUESTS):
                received = await connection.next_request(LIMIT_S, LIMIT_S)
                assert received is not None
                connection.keep(received[1].rest)
            task.cancel()
            connection.close()
        return turns

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(sockets)) as runner:
        assert runner.run(run()) > 0

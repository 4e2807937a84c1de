"""The server: accepts connections, serves their requests one after the other, and ends without cutting any off."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from limpet_command_serve.body import Body
from limpet_command_serve.channel import Channel, PlainChannel, Ready, TlsChannel
from limpet_command_serve.connection import ClientGoneError, Connection
from limpet_command_serve.exchange import Exchange
from limpet_command_serve.half_heads import HalfHeads
from limpet_command_serve.head import BadRequestError, Head, encode_head, phrase
from limpet_command_serve.listening import close_listener
from limpet_command_serve.policy import Policy
from limpet_command_serve.protocol import Protocol, Request
from limpet_command_serve.settings import Settings
from limpet_command_serve.store import Store
from limpet_command_serve.waiting import Sockets
from limpet_command_serve.workers import Workers

if TYPE_CHECKING:
    import ssl

CLIENT_GONE = 499
"""nginx's status for a request whose client did not wait for the answer; only in logs."""
ACCEPT_PAUSE_S = 0.2
HANGING_S = 5.0
"""How long the threads may take for what they are just doing, once nobody wants it any more."""
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Server:
    """Serves one store on one listening socket, on an event loop whose selector `sockets` is."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        policies: Sequence[Policy],
        tell: Callable[[str], None],
        sockets: Sockets,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._policies = policies
        self._watchers = [policy for policy in policies if type(policy).answered is not Policy.answered]
        self._tell = tell
        self._tls = tls
        self._workers = Workers()
        self._sockets = sockets
        self._halves = HalfHeads()
        self._protocol = Protocol(store, policies, verifies_uploads=not settings.no_verify_upload, tell=tell)
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[asyncio.Task[None], None] = {}
        """Connections without a whole request, in the order in which they began to wait."""
        self._closing: set[asyncio.Task[None]] = set()
        """Those of them that had to go for others, until they have."""
        self._changed = asyncio.Event()
        """A connection has ended, or waits for a request now."""
        self._ending = asyncio.Event()
        self._is_cut = False

    async def run(self, listener: socket.socket) -> None:
        """Serve until SIGTERM or SIGINT; then what runs may go on for the grace time. A second signal ends that."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # See `lean.hold_reloads`.
        try:
            for policy in self._policies:
                await policy.start()
            accepting = loop.create_task(self._accept(listener))
            await self._ending.wait()
            accepting.cancel()
            close_listener(listener)
            await self._drain()
        finally:
            for policy in self._policies:
                await policy.close()
            if not self._workers.close(HANGING_S):
                # A disk or a network share hangs: its threads would keep the process for ever.
                self._tell("the storage hangs: the server ends without waiting for it")
                os._exit(1)

    def _end(self) -> None:
        if self._ending.is_set():
            self._is_cut = True
            for task in self._tasks:
                task.cancel()
        self._ending.set()
        self._protocol.end()

    def _reload(self) -> None:
        for policy in self._policies:
            policy.reload()

    async def _drain(self) -> None:
        for task in self._waiting:
            task.cancel()
        running = len(self._tasks) - len(self._waiting)
        if running:
            self._tell(f"ending: {running} requests may take {self._settings.grace_s:g} s more")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=0 if self._is_cut else self._settings.grace_s)
        if self._tasks:
            self._tell(f"{len(self._tasks)} requests are cut off")
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=HANGING_S)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        with closing(self._sockets.add(listener.fileno())) as arriving:
            while True:
                await arriving.until(Ready.TO_READ, math.inf)
                await self._make_room()
                try:
                    connection, address = listener.accept()
                except OSError as error:
                    if error.errno in _NO_DESCRIPTORS:
                        self._tell(f"cannot take another connection: {error.strerror}; {len(self._tasks)} are open")
                        self._close_oldest()
                        await asyncio.sleep(ACCEPT_PAUSE_S)
                    continue
                task = loop.create_task(self._serve_connection(connection, _client(address)))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    async def _make_room(self) -> None:
        """Return when one more connection may be open; the one that waits longest for a request goes for it."""
        most = self._settings.most_connections
        while len(self._tasks) >= most:
            if len(self._tasks) - len(self._closing) >= most:
                self._close_oldest()
            self._changed.clear()
            await self._changed.wait()

    def _close_oldest(self) -> None:
        if self._waiting:
            task = next(iter(self._waiting))
            del self._waiting[task]
            self._closing.add(task)
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._closing.discard(task)
        self._changed.set()

    def _wait_for_request(self, task: asyncio.Task[None]) -> None:
        self._waiting[task] = None
        self._changed.set()

    async def _serve_connection(self, accepted: socket.socket, client: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection: Connection | None = None
        try:
            accepted.setblocking(False)
            channel = self._channel(accepted)
            connection = Connection(
                channel,
                client,
                self._workers,
                self._sockets.add(channel.descriptor),
                self._halves,
                stall_timeout_s=self._settings.stall_timeout_s,
                alone=self._settings.proxy_auth_username,
            )
            self._wait_for_request(task)
            if self._tls is not None:
                await connection.shake_hands(self._settings.header_timeout_s)
            await self._serve_requests(connection, task)
        except (ClientGoneError, OSError):
            return
        except asyncio.CancelledError:
            return
        except Exception as error:  # one connection's trouble is not the server's
            self._tell(f"unexpected {type(error).__name__}: {error}")
        finally:
            self._waiting.pop(task, None)
            if connection is not None:
                connection.close()
            else:
                accepted.close()

    def _channel(self, accepted: socket.socket) -> Channel:
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return PlainChannel(accepted) if self._tls is None else TlsChannel(accepted, self._tls)

    async def _serve_requests(self, connection: Connection, task: asyncio.Task[None]) -> None:
        idle_timeout_s = self._settings.header_timeout_s
        while not self._ending.is_set():
            self._wait_for_request(task)
            try:
                received = await connection.next_request(idle_timeout_s, self._settings.header_timeout_s)
                if received is None:
                    return
            except BadRequestError as error:
                self._waiting.pop(task, None)
                await self._reject(connection, error)
                return
            self._waiting.pop(task, None)
            if not await self._serve_request(connection, *received):
                return
            idle_timeout_s = self._settings.idle_timeout_s

    async def _serve_request(self, connection: Connection, head: Head, body: Body) -> bool:
        """Whether another request may follow."""
        exchange = Exchange(
            time.time(),
            connection.client,
            head.method,
            head.path,
            head.http_version,
            head.target,
            head.headers,
        )
        request = Request(connection, exchange, head, body)
        try:
            await self._protocol.serve(request)
        except (ClientGoneError, asyncio.CancelledError) as error:
            exchange.reason = exchange.reason or str(error) or "the server ends"
            exchange.status = exchange.status or CLIENT_GONE
            raise
        finally:
            for policy in self._watchers:
                policy.answered(exchange)
        if not body.is_complete:
            await connection.linger()
            return False
        connection.keep(body.rest)
        return request.keeps_connection

    async def _reject(self, connection: Connection, error: BadRequestError) -> None:
        """Answer what is no request."""
        exchange = Exchange(time.time(), connection.client, "", "", status=error.status, reason=str(error))
        for policy in self._watchers:
            policy.answered(exchange)
        text = f"{phrase(error.status)}: {error}\n".encode("utf-8", "backslashreplace")
        headers = (
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(text))),
            ("Connection", "close"),
        )
        await connection.send(encode_head(error.status, headers) + text)
        await connection.linger()


def _client(address: object) -> str:
    return str(address[0]) if isinstance(address, tuple) else ""

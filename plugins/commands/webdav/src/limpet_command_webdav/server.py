"""The HTTP server, in threads that nothing waits for: it ends in time, whatever its readers hang in."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Self

from cheroot import wsgi
from limpet.errors import LimpetError

from limpet_command_webdav.address import Address
from limpet_command_webdav.connection import HEAD_LIMIT_BYTES, Arrival, Connection
from limpet_command_webdav.guard import Application

THREADS = 128
"""Answers at once: each client that reads slowly keeps one. All of them together take some 3 MiB."""
WAITING_CONNECTIONS = 512
"""Connections on which nothing is being answered; beyond, those go on which nothing happened for the longest time."""
SILENCE_LIMIT_S = 60
"""How long a client may take for a piece of an answer, or ask nothing, before its connection is closed."""
REQUEST_LIMIT_S = 0.3
"""How long requests that are being answered may go on when the end has come."""
END_LIMIT_S = 0.5
POLL_S = 0.2


class _Server(wsgi.Server):
    ConnectionClass = Connection
    max_request_header_size = HEAD_LIMIT_BYTES
    keep_alive_conn_limit = WAITING_CONNECTIONS
    refusal: OSError | None = None
    """Why the system did not let us listen: cheroot keeps but a text of it."""

    def __init__(self, address: Address, application: Application, note: Callable[[str], None]) -> None:
        super().__init__(
            (address.host, address.port),
            application,
            numthreads=THREADS,
            server_name="limpet",
            timeout=SILENCE_LIMIT_S,
            shutdown_timeout=REQUEST_LIMIT_S,  # type: ignore[arg-type]  # it may be a fraction
            request_queue_size=128,
        )
        self._note = note
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        self._lock = threading.Lock()

    def process_conn(self, conn: Connection) -> None:
        """Give a thread to what a client sent, if that is a request."""
        self.forget(conn)
        match conn.arrived():
            case Arrival.ANSWER:
                self.requests.put(conn)
            case Arrival.WAIT:
                self.put_conn(conn)
            case Arrival.CLOSE:
                conn.close()

    def put_conn(self, conn: Connection) -> None:
        """Wait for what the client sends."""
        with self._lock:
            self._waiting[conn] = None
            longest = self._waiting.popitem(last=False)[0] if len(self._waiting) > WAITING_CONNECTIONS else None
        if longest is not None:
            longest.hang_up()
        super().put_conn(conn)

    def forget(self, conn: Connection) -> None:
        """It waits no longer."""
        with self._lock:
            self._waiting.pop(conn, None)

    def bind(self, family: int, type: int, proto: int = 0) -> object:  # cheroot's name
        """Take the place to listen on."""
        try:
            return super().bind(family, type, proto)
        except OSError as error:
            self.refusal = error
            raise

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """What goes wrong with a connection is the client's affair: only told to those who ask for it."""
        self._note(f"webdav: {msg}")


class ViewServer:
    """Serves a WSGI application. A context manager: it listens when it is entered, and has ended when it is left.

    All threads are daemons: a read from a storage that does not answer can neither be ended nor waited for.
    """

    def __init__(self, address: Address, application: Application, note: Callable[[str], None]) -> None:
        # With it cheroot would take descriptor 3 for its socket, whoever the variable was meant for.
        os.environ.pop("LISTEN_PID", None)
        self._address = address
        self._server = _Server(address, application, note)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="limpet-webdav", daemon=True)

    @property
    def address(self) -> Address:
        """Where it listens, with the port that it got."""
        host, port = self._server.bind_addr
        return Address(host, port)

    def __enter__(self) -> Self:
        """Listen; LimpetError if that cannot be."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            refusal = self._server.refusal
            reason = str(self._failure) if refusal is None else refusal.strerror
            raise LimpetError(
                f"cannot listen on {self._address}: {reason}; --listen HOST:PORT names another place"
            ) from self._failure
        return self

    def __exit__(self, *_error: object) -> None:
        # In a thread, for it waits without limit for a reader that hangs.
        ending = threading.Thread(target=self._server.stop, name="limpet-webdav-end", daemon=True)
        ending.start()
        ending.join(END_LIMIT_S)

    def wait(self) -> None:
        """Until the server ends by itself, which it does not."""
        # In steps: a signal that comes to another thread than this one does not wake it.
        while self._thread.is_alive():
            self._thread.join(POLL_S)

    def _run(self) -> None:
        try:
            self._server.prepare()
        except Exception as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        self._server.serve()

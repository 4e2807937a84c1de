"""`RemoteCommand`: a command in a container, by the exec protocol over a websocket (v4.channel.k8s.io).

Every message begins with the number of its channel. Only the status channel tells how the command ended: without its
message the connection was cut, and nothing that was read can be trusted. Each end sees this in the thread that reads,
so a reader that is slow slows the command, and nothing is buffered. An ADR says why no library does this for us.
"""

from __future__ import annotations

import contextlib
import io
import json
import select
import socket
import ssl
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from limpet.contracts.process import Tell
from limpet.errors import SourceError

from limpet_source_kubernetes.api import CONNECT_LIMIT_S, ApiError, Cluster, object_path, refusal

if TYPE_CHECKING:
    import websocket

PROTOCOL = "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, STATUS = 0, 1, 2, 3
SILENCE_S = 30.0
"""After that long without a message the other end is asked whether it is still there."""
UNANSWERED = 4
"""So many such questions without any answer, and the connection is lost."""
FRAME_BYTES = 1 << 15
_LAST_LINE_BYTES = 1 << 16


class RemoteCommand(io.RawIOBase):
    """A running command. Reading it gives its standard output, to its end; `wait` tells its exit code.

    SourceError where it cannot be started, is cut off, or ends without an exit code. Its complaints go to `tell`.
    One thread reads; another may write, and any may `stop` it.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        tell: Tell | None = None,
        has_input: bool = False,
    ) -> None:
        super().__init__()
        self.what = f"pod {namespace}/{pod}, container {container}"
        self.exit_code: int | None = None
        self.last_words = ""
        """The last line that it said on its standard error."""
        self._tell = tell
        self._rest = memoryview(b"")
        self._line = b""
        self._is_stopped = False
        self._failure: SourceError | None = None
        asked = [("command", word) for word in argv]
        asked += [("container", container), ("stdout", "true"), ("stderr", "true")]
        if has_input:
            asked.append(("stdin", "true"))
        self._socket = _connect(
            cluster, f"{object_path('v1', namespace, 'pods', pod)}/exec?{urlencode(asked)}", self.what
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Bytes of standard output read into `buffer`; 0 once the command has ended and said how."""
        while not self._rest and self.exit_code is None:
            self._take_message(None)
        count = min(len(self._rest), len(buffer))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def feed(self, data: bytes | memoryview) -> None:
        """Write all of it to the command's standard input; SourceError if the connection does not take it."""
        import websocket  # noqa: PLC0415

        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), FRAME_BYTES):
                self._socket.send_binary(bytes([STDIN]) + bytes(view[start : start + FRAME_BYTES]))
        except (websocket.WebSocketException, OSError, AttributeError) as error:
            raise self._cut() from error

    def wait(self, limit_s: float | None = None) -> int:
        """The exit code; what it still prints is dropped. TimeoutError when it takes longer than the limit."""
        deadline = None if limit_s is None else time.monotonic() + limit_s
        while self.exit_code is None:
            self._rest = memoryview(b"")
            self._take_message(deadline)
        return self.exit_code

    def stop(self) -> None:
        """Cut the connection: a read in another thread fails at once. The command ends when it writes next."""
        self._is_stopped = True
        raw = self._socket.sock
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut the connection if the command still runs, and free it. Idempotent."""
        if not self.closed:
            self.stop()
            self._socket.shutdown()  # type: ignore[no-untyped-call]
            super().close()

    def _take_message(self, deadline: float | None) -> None:
        if self._failure is not None:
            raise SourceError(str(self._failure)) from self._failure
        try:
            self._handle(self._receive(deadline))
        except SourceError as error:
            self._failure = error
            raise

    def _handle(self, data: bytes) -> None:
        if not data:
            return
        if data[0] == STDOUT:
            self._rest = memoryview(data)[1:]
        elif data[0] == STDERR:
            self._listen(data[1:])
        elif data[0] == STATUS and len(data) > 1:
            self._listen(b"\n")
            self.exit_code = self._parse_status(data[1:])

    def _receive(self, deadline: float | None) -> bytes:
        """The next message of any channel; SourceError when none can come any more."""
        import websocket  # noqa: PLC0415
        from websocket import ABNF  # noqa: PLC0415

        silent = 0
        while True:
            limit_s = SILENCE_S if deadline is None else max(deadline - time.monotonic(), 0.0)
            connection = self._socket.sock
            if connection is None:
                raise self._cut()
            try:
                if not _is_readable(connection, limit_s):
                    if deadline is not None:
                        raise TimeoutError
                    silent += 1
                    self._ask_for_a_sign(silent)
                    continue
                opcode, frame = self._socket.recv_data_frame(control_frame=True)
            except TimeoutError:
                raise
            except (websocket.WebSocketException, OSError, ValueError, AttributeError) as error:
                raise self._cut() from error
            if opcode == ABNF.OPCODE_BINARY:
                return bytes(frame.data)
            if opcode == ABNF.OPCODE_CLOSE:
                raise self._cut()
            silent = 0

    def _ask_for_a_sign(self, silent: int) -> None:
        import websocket  # noqa: PLC0415

        if silent > UNANSWERED:
            raise SourceError(f"{self.what}: the connection to the command is dead")
        try:
            self._socket.ping()
        except (websocket.WebSocketException, OSError, AttributeError) as error:
            raise self._cut() from error

    def _cut(self) -> SourceError:
        if self._is_stopped:
            return SourceError(f"{self.what}: the command was stopped")
        return SourceError(f"{self.what}: the connection was cut before the command said how it ended")

    def _listen(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > _LAST_LINE_BYTES:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            text = line.decode(errors="replace").strip()
            if text:
                self.last_words = text
                if self._tell is not None:
                    self._tell(text)

    def _parse_status(self, data: bytes) -> int:
        """The exit code in a `Status` object; SourceError where the command never ran or nobody knows."""
        try:
            status: dict[str, Any] = json.loads(data)
            if status.get("status") == "Success":
                return 0
            for cause in (status.get("details") or {}).get("causes") or ():
                if cause.get("reason") == "ExitCode":
                    return int(cause["message"])
            message = str(status.get("message") or "no reason given")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"{self.what}: the command ended with a status that nobody understands") from error
        raise SourceError(f"{self.what}: the command could not be run: {' '.join(message.split())}")


def _is_readable(connection: socket.socket, limit_s: float) -> bool:
    """Whether something has come within that time. A socket's own time limit would be one for sending, too."""
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return True
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(limit_s * 1000))


def _connect(cluster: Cluster, path: str, what: str) -> websocket.WebSocket:
    import websocket  # noqa: PLC0415  # 0.1 s

    for is_first in (True, False):
        try:
            return _handshake(cluster, path)
        except websocket.WebSocketBadStatusException as error:
            if error.status_code == 401 and is_first and cluster.renew():
                continue
            raise refusal(f"exec in {what}", error.status_code, error.resp_body or b"") from error
        except (websocket.WebSocketException, OSError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ApiError(f"exec in {what}: no connection to {cluster.server}: {reason}") from error
    raise AssertionError("not reached")


def _handshake(cluster: Cluster, path: str) -> websocket.WebSocket:
    import websocket  # noqa: PLC0415

    server = urlsplit(cluster.access.server)
    url = f"{'wss' if server.scheme == 'https' else 'ws'}://{server.netloc}{server.path}{path}"
    context = cluster.tls()
    tls: dict[str, Any] = {} if context is None else {"context": context}
    if context is not None and cluster.access.server_name:
        tls["server_hostname"] = cluster.access.server_name
    proxy = cluster.proxy()
    through: dict[str, Any] = {"http_no_proxy": ["*"]}
    if proxy is not None:
        parts = urlsplit(proxy)
        through = {
            "http_proxy_host": parts.hostname,
            "http_proxy_port": parts.port or 80,
            "proxy_type": "http",
            "http_no_proxy": ["-"],  # asked already
        }
        if parts.username:
            through["http_proxy_auth"] = (parts.username, parts.password or "")
    connected: websocket.WebSocket = websocket.create_connection(
        url,
        timeout=CONNECT_LIMIT_S,
        header=[f"{name}: {value}" for name, value in cluster.headers().items()],
        subprotocols=[PROTOCOL],
        sslopt=tls,
        sockopt=((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),),
        suppress_origin=True,
        redirect_limit=0,
        skip_utf8_validation=True,
        enable_multithread=True,
        **through,
    )
    # From here on nobody may give up sending in the middle of a frame: a core that waits for its storage slows tar, and
    # tar the names that it is fed. Whether the other end is still there, reading finds out.
    connected.settimeout(None)
    if connected.getsubprotocol() != PROTOCOL:
        connected.shutdown()  # type: ignore[no-untyped-call]
        raise ValueError(f"the server does not speak {PROTOCOL}")
    return connected

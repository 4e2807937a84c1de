"""The exec protocol as a kubelet speaks it (v4.channel.k8s.io over RFC 6455), with real commands on this machine.

A stand-in of its own, without any of the client's libraries: what both got wrong alike would not be seen.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import IO

PROTOCOL = "v4.channel.k8s.io"
_KEY_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10
STDIN, STDOUT, STDERR, STATUS = 0, 1, 2, 3
FRAME_BYTES = 1 << 15
DRAIN_LIMIT_S = 10.0


@dataclass(slots=True)
class Fault:
    """What goes wrong with commands that have `only` in one of their words, once so many bytes were printed."""

    only: str = ""
    cut_after_bytes: int | None = None
    """The connection ends, as if somebody had pulled the plug."""
    kill_after_bytes: int | None = None
    """The command is killed, as by the kernel that is out of memory."""
    stall_after_bytes: int | None = None
    """Nothing more comes, until the connection ends."""
    is_deaf: bool = False
    """Pings are not answered."""
    is_silent_about_end: bool = False
    """The connection is closed in good order, but without the status."""

    def concerns(self, argv: Sequence[str]) -> bool:
        """Whether it strikes this command."""
        return any(self.only in word for word in argv)


class ExecSession:
    """One command for one connection, from the handshake to the status."""

    def __init__(self, handler: BaseHTTPRequestHandler, argv: Sequence[str], fault: Fault | None) -> None:
        self._connection = handler.connection
        self._input = handler.rfile
        self._argv = argv
        self._fault = fault
        self._sending = threading.Lock()
        key = handler.headers["Sec-WebSocket-Key"].encode() + _KEY_SUFFIX
        accept = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest()).decode()
        head = (
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
        )
        self._connection.sendall(head.encode())

    def run(self, environment: Mapping[str, str], *, has_input: bool) -> None:
        """Run the command and tell all that it prints and how it ends."""
        try:
            process = subprocess.Popen(
                self._argv,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._send_status(
                {"status": "Failure", "reason": "InternalError", "message": f"exec failed: {error.strerror}"}
            )
            return
        assert process.stdout is not None
        assert process.stderr is not None
        complaints = threading.Thread(target=self._pump, args=(process.stderr, STDERR))
        complaints.start()
        listener = threading.Thread(target=self._listen, args=(process,), daemon=True)
        listener.start()
        try:
            went_well = self._pump_output(process, process.stdout)
        except OSError:  # The client has gone: a container's command ends when it writes next, or lives on.
            went_well = False
        if not went_well:
            self._drop()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        complaints.join()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if went_well:
            self._tell_end(128 - code if code < 0 else code)
            listener.join(DRAIN_LIMIT_S)

    def _pump_output(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> bool:
        """Pass on standard output; False if the connection is to end here."""
        fault, sent_bytes = self._fault, 0
        while data := os.read(output.fileno(), FRAME_BYTES):
            self._send(_BINARY, bytes([STDOUT]) + data)
            sent_bytes += len(data)
            if fault is None:
                continue
            if fault.cut_after_bytes is not None and sent_bytes >= fault.cut_after_bytes:
                return False
            if fault.stall_after_bytes is not None and sent_bytes >= fault.stall_after_bytes:
                return self._stall()
            if fault.kill_after_bytes is not None and sent_bytes >= fault.kill_after_bytes:
                os.killpg(process.pid, signal.SIGKILL)
                fault = None
        return fault is None or fault.cut_after_bytes is None

    def _stall(self) -> bool:
        with suppress(OSError):
            while self._connection.recv(1, socket.MSG_PEEK):
                threading.Event().wait(0.01)
        return False

    def _pump(self, pipe: IO[bytes], channel: int) -> None:
        with suppress(OSError):
            while data := os.read(pipe.fileno(), FRAME_BYTES):
                self._send(_BINARY, bytes([channel]) + data)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Take what the client sends until it is gone, and end the command then, as no real kubelet does for sure.

        As with v4, the command never sees an end of its input.
        """
        stdin = process.stdin
        with suppress(OSError, struct.error, ValueError):
            while True:
                opcode, data = self._receive()
                if opcode == _PING:
                    if self._fault is None or not self._fault.is_deaf:
                        self._send(_PONG, data)
                elif opcode == _CLOSE:
                    break
                elif opcode == _BINARY and data and data[0] == STDIN and stdin is not None:
                    with suppress(BrokenPipeError, ValueError):  # The command has ended: the rest is drained.
                        stdin.write(data[1:])
                        stdin.flush()
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _receive(self) -> tuple[int, bytes]:
        first, second = self._input.read(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._input.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._input.read(8))
        if not second & 0x80:
            raise ValueError("RFC 6455 wants frames of clients to be masked")
        mask = self._input.read(4)
        data = self._input.read(length)
        whole = int.from_bytes(data, "little") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "little")
        return first & 0x0F, whole.to_bytes(length, "little")

    def _send(self, opcode: int, data: bytes) -> None:
        if len(data) < 126:
            head = struct.pack("!BB", 0x80 | opcode, len(data))
        elif len(data) < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 126, len(data))
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, len(data))
        with self._sending:
            self._connection.sendall(head + data)

    def _tell_end(self, code: int) -> None:
        if code == 0:
            self._send_status({"status": "Success"})
            return
        cause = {"reason": "ExitCode", "message": str(code)}
        message = f"command terminated with non-zero exit code: exit status {code}"
        self._send_status(
            {"status": "Failure", "reason": "NonZeroExitCode", "message": message, "details": {"causes": [cause]}}
        )

    def _send_status(self, status: Mapping[str, object]) -> None:
        with suppress(OSError):
            if self._fault is None or not self._fault.is_silent_about_end:
                self._send(_BINARY, bytes([STATUS]) + json.dumps({"metadata": {}, **status}).encode())
            self._send(_CLOSE, struct.pack("!H", 1000))
            # Not both ways: what the client still sends would make its system forget what it has not read yet.
            self._connection.shutdown(socket.SHUT_WR)

    def _drop(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

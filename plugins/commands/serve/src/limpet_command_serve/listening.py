"""The socket a server listens on: TCP, a unix socket, or one that systemd has opened already."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress

from limpet.errors import UsageError

BACKLOG = 1024
UNIX = "unix:"
MOST_PORT = 65535
_FIRST_PASSED = 3
"""sd_listen_fds(3)."""


def open_listener(address: str) -> socket.socket:
    """The listening socket of `HOST:PORT`, `:PORT` or `unix:PATH`; UsageError where that cannot be.

    One passed by systemd goes before what the address says.
    """
    passed = _passed_by_systemd()
    if passed is not None:
        return passed
    try:
        if address.startswith(UNIX):
            return _listen_unix(address.removeprefix(UNIX))
        return _listen_tcp(*_split(address))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot listen on {address}: {reason.lower()}") from error


def close_listener(listener: socket.socket) -> None:
    """Close the socket; a unix one that is ours is taken out of its folder before. Idempotent."""
    if listener.fileno() < 0:
        return
    name = listener.getsockname() if listener.family == socket.AF_UNIX and not _is_passed(listener) else None
    if isinstance(name, str) and name and not name.startswith("\0"):
        with suppress(OSError):
            os.unlink(name)
    listener.close()


def shown(listener: socket.socket) -> str:
    """Its address, for people."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"{UNIX}{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and int(port) <= MOST_PORT):
        raise UsageError(f"cannot listen on {address!r}: give HOST:PORT, :PORT or unix:PATH")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _listen_tcp(host: str, port: int) -> socket.socket:
    if not host:
        if socket.has_dualstack_ipv6():
            with suppress(OSError):  # IPv6 may be switched off
                return socket.create_server(("::", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # it is what was asked for
    # Of text Python would first make international ASCII, with tables of 0.5 MB.
    known = host.encode() if host.isascii() else host
    family, _, _, _, name = socket.getaddrinfo(known, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(name[:2], family=family, backlog=BACKLOG)


def _listen_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        if _is_abandoned(path):
            os.unlink(path)
        listener.bind(path)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_abandoned(path: str) -> bool:
    """Whether a socket is there that nobody listens on: a server that was killed has left it."""
    try:
        if not stat.S_ISSOCK(os.stat(path, follow_symlinks=False).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _passed_by_systemd() -> socket.socket | None:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "0")
    if count != "1":
        raise UsageError(f"systemd passed {count} sockets, and one is expected: leave one ListenStream= in the unit")
    passed = socket.socket(fileno=_FIRST_PASSED)
    if not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise UsageError("the socket that systemd passed does not listen: the unit needs ListenStream= and Accept=no")
    return passed


def _is_passed(listener: socket.socket) -> bool:
    return listener.fileno() == _FIRST_PASSED and "LISTEN_PID" in os.environ

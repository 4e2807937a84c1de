"""How a backend talks to its server: what the flags of every command say about TLS, HTTP and requests that hang."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.errors import UsageError

if TYPE_CHECKING:
    import ssl

STUCK_REQUEST_TIMEOUT_S = 300.0
"""restic's default."""


@dataclass(frozen=True, slots=True)
class Transport:
    """Every backend is opened with one; a backend without a network ignores it, one that has one honours all of it."""

    root_certificates: Sequence[str] = ()
    """Files of PEM certificates: these are trusted, and not the system's; empty for the system's."""
    client_certificate: str | None = None
    """A PEM file that holds the client's certificate and its private key."""
    verify_tls: bool = True
    """Whether the server has to prove who it is."""
    user_agent: str | None = None
    """What HTTP requests name as their program; None for the backend's own name."""
    stuck_request_timeout_s: float | None = STUCK_REQUEST_TIMEOUT_S
    """A request on which no byte has moved for so long ends in a transient BackendError; None for no limit.

    Only the backend sees bytes move: it sets this as the time limit of its sockets. One whose library has no such
    limit says so by `BackendProperties.needs_watchdog`.
    """

    def ssl_context(self) -> ssl.SSLContext:
        """A context for clients that does what the fields say; UsageError naming a file that cannot be used."""
        import ssl  # noqa: PLC0415  # only where TLS is spoken

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not self.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if not self.root_certificates:
            context.load_default_certs()
        for path in self.root_certificates:
            try:
                context.load_verify_locations(cafile=path)
            except ssl.SSLError as error:
                raise UsageError(f"cannot parse root certificate from {path!r}: it holds none in PEM format") from error
            except (OSError, ValueError) as error:
                raise UsageError(f"unable to read root certificate: {path!r}: {_reason(error)}") from error
        if self.client_certificate is not None:
            _load_client_certificate(context, self.client_certificate)
        return context


KEEP_ALIVE_S = 15
"""Go's, so restic's: routers forget connections that are silent for some minutes, without a word to either end."""


def keep_alive_options() -> Sequence[tuple[int, int, int]]:
    """Options for a TCP socket that is kept for later requests: level, name and value of each."""
    import socket  # noqa: PLC0415  # only where there is a network

    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL")  # not every system has them
    pauses = [(socket.IPPROTO_TCP, getattr(socket, name), KEEP_ALIVE_S) for name in names if hasattr(socket, name)]
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *pauses]


def _load_client_certificate(context: ssl.SSLContext, path: str) -> None:
    import ssl  # noqa: PLC0415

    def refuse() -> str:
        raise UsageError(f"the private key in {path!r} is encrypted; give one that is not")

    try:
        context.load_cert_chain(path, password=refuse)
    except ssl.SSLError as error:
        raise UsageError(
            f"cannot use the TLS client certificate {path!r}: the file must hold a certificate and its private key"
            f" in PEM format"
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"unable to read TLS client certificate: {path!r}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


DEFAULT_TRANSPORT = Transport()

"""What went wrong with a request, as the errors of the contract."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from limpet.contracts.retry_after import retry_after_s
from limpet.errors import BackendError, StorageFullError

TRANSIENT_STATUSES = frozenset({408, 422, 425, 429, 498, 499})
"""422: what arrived has another MD5 than what was sent. 498: Swift's own word for too many requests."""
PERMANENT_SERVER_STATUSES = frozenset({501, 505, 507})

_REASONS = {
    401: "the server does not accept the user, password or token",
    403: "the user may not do this, or may not see this account",
    413: "the account's or container's quota is used up, or the file is larger than the server takes",
    422: "the data was damaged on its way to the server",
    429: "the server is asked too often",
    498: "the server is asked too often",
    507: "no space left on the server",
}


class NotInStoreError(BackendError):
    """The server answered 404: no such object, or no such container."""


class BeyondEndError(BackendError):
    """The server answered 416: the range begins where the object has nothing."""


def host_of(url: str) -> str:
    """The host and port of an address, as shown to people."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname}{port}"


def status_error(what: str, status: int, host: str, retry_after: str | None = None) -> BackendError:
    """The error for an answer that is no success; `retry_after` is that header of it."""
    permanent = (status < 500 and status not in TRANSIENT_STATUSES) or status in PERMANENT_SERVER_STATUSES
    message = f"{what}: {status_reason(status, host)}"
    if status == 507:
        return StorageFullError(message)
    return BackendError(message, permanent=permanent, retry_after_s=retry_after_s(retry_after))


def status_reason(status: int, host: str) -> str:
    """What the answer means, in words."""
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    reason = _REASONS.get(status)
    return f"{reason} ({host} answered {phrase})" if reason else f"{host} answered {phrase}"


def connection_error(what: str, error: Exception, host: str) -> BackendError:
    """The error for a request without a complete answer: transient, but for a server that did not prove who it is."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or "certificate verify failed" in str(error):
        return BackendError(
            f"{what}: {host} did not prove who it is, its certificate is not trusted; name the right one by --cacert",
            permanent=True,
        )
    return BackendError(f"{what}: no answer from {host}: {_plain(error)}")


def _plain(error: BaseException) -> str:
    """The innermost reason, on one line and without addresses of objects."""
    seen: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in seen:
        seen.append(inner)
        reason = getattr(inner, "reason", None)
        nested = [argument for argument in inner.args if isinstance(argument, BaseException)]
        inner = reason if isinstance(reason, BaseException) else (nested[0] if nested else inner.__cause__)
    for candidate in reversed(seen):
        if isinstance(candidate, OSError) and candidate.strerror:
            return candidate.strerror
    text = " ".join(str(seen[-1]).split())
    _, _, last = text.rpartition(">: ")
    return f"{type(seen[-1]).__name__}: {last}" if last else type(seen[-1]).__name__

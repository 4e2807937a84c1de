"""What went wrong with a request, as the errors of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from limpet.contracts.retry_after import retry_after_s
from limpet.errors import BackendError, StorageFullError

TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, 498})
PERMANENT_SERVER_STATUSES = frozenset({501, 505, 507})

_REASONS = {
    400: "the server does not understand the request; look at the region, the host and the key",
    401: "the server does not accept the key or secret",
    403: "the key or secret is wrong, or may not do this",
    413: "the file is larger than the server takes, or the quota is used up",
    429: "the server is asked too often",
    498: "the server is asked too often",
    507: "no space left on the server",
}


class StatusError(Exception):
    """An answer that is no success, before a driver makes something else of it."""

    def __init__(self, status: int, retry_after: str | None = None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.retry_after = retry_after


class NotInStoreError(BackendError):
    """There is no such object."""


class NoContainerError(BackendError):
    """There is no such container."""


class BeyondEndError(BackendError):
    """The range begins where the object has nothing."""


def status_error(what: str, error: StatusError, host: str) -> BackendError:
    """The error for an answer that is no success."""
    status = error.status
    if status == 404:
        return NoContainerError(f"{what}: there is no such container at {host}", permanent=True)
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    reason = _REASONS.get(status)
    if 300 <= status < 400:
        reason = "the container is in another region or at another host"
    message = f"{what}: {reason} ({host} answered {phrase})" if reason else f"{what}: {host} answered {phrase}"
    if status == 507:
        return StorageFullError(message)
    if status == 416:
        return BeyondEndError(message, permanent=True)
    permanent = (status < 500 and status not in TRANSIENT_STATUSES) or status in PERMANENT_SERVER_STATUSES
    return BackendError(message, permanent=permanent, retry_after_s=retry_after_s(error.retry_after))


def connection_error(what: str, error: Exception, host: str) -> BackendError:
    """The error for a request without a complete answer: transient, but for a server that did not prove who it is."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or "certificate verify failed" in str(error):
        return BackendError(
            f"{what}: {host} did not prove who it is, its certificate is not trusted; name the right one by --cacert",
            permanent=True,
        )
    return BackendError(f"{what}: no answer from {host}: {_plain(error)}")


def library_error(what: str, error: Exception, secrets: Sequence[str]) -> BackendError:
    """The error for whatever else came out of libcloud: trying again would only bring it again."""
    reason = " ".join(str(getattr(error, "value", None) or error).split())[:300]
    for secret in secrets:
        reason = reason.replace(secret, "***")
    return BackendError(f"{what}: libcloud says {type(error).__name__}: {reason}", permanent=True)


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

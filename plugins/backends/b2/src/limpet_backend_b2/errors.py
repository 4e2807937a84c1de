"""What b2sdk and the network raise, as the errors of the contract: one plain line, transient or permanent."""

from __future__ import annotations

import contextlib
import ssl
import urllib.parse
from collections.abc import Iterator

import requests
import urllib3
from b2sdk._internal.exception import FileOrBucketNotFound  # type: ignore[import-untyped]  # v3 raises it, unnamed
from b2sdk.v3 import exception as b2  # type: ignore[import-untyped]  # it has no py.typed
from limpet.errors import BackendError, MissingFileError, StorageFullError

_TRANSIENT = (
    b2.TransientErrorMixin,  # no connection, a time limit, 408, 5xx
    b2.TooManyRequests,
    b2.ConnectionReset,
    b2.BrokenPipe,
    b2.UnknownHost,
    b2.BadUploadUrl,
    b2.Conflict,
    b2.FileSha1Mismatch,
)
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (b2.StorageCapExceeded, "the storage cap of the account is reached; raise it in Backblaze's web pages"),
    (b2.TransactionCapExceeded, "the transaction cap of the account is reached; raise it in Backblaze's web pages"),
    (b2.AccessDenied, "access is denied; is the file protected by a retention period (Object Lock)?"),
    (b2.TooManyRequests, "the service is asked too often"),
    (b2.UnknownHost, "the host's name is not known"),
    (b2.BrokenPipe, "the server closed the connection during the upload"),
    (b2.ConnectionReset, "the connection was reset"),
)


@contextlib.contextmanager
def translated(what: str, *, missing: str) -> Iterator[None]:
    """Raise only BackendErrors: `what` says what was tried, `missing` what is not there where that is the reason."""
    try:
        yield
    except (FileOrBucketNotFound, b2.FileAlreadyHidden) as error:
        raise MissingFileError(missing) from error
    except b2.InvalidAuthToken as error:
        raise BackendError(f"{what}: B2 does not take the token any more: {error.message}") from error
    except b2.StorageCapExceeded as error:
        raise StorageFullError(f"{what}: {_reason(error)}") from error
    except b2.B2Error as error:
        permanent = not isinstance(error, _TRANSIENT) and not _is_broken_answer(error)
        permanent = permanent or isinstance(_deepest(error), ssl.SSLCertVerificationError)
        raise BackendError(
            f"{what}: {_reason(error)}", permanent=permanent, retry_after_s=error.retry_after_seconds
        ) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise BackendError(f"{what}: {_network_reason(error)}") from error


def _is_broken_answer(error: Exception) -> bool:
    """Whether b2sdk met something in reading the answer, and not an answer that it has no name for."""
    return isinstance(error, b2.UnknownError) and error.__context__ is not None


def _reason(error: Exception) -> str:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    cause = error.__context__
    if isinstance(error, (b2.B2ConnectionError, b2.B2RequestTimeout)) and isinstance(cause, requests.RequestException):
        return _network_reason(cause)
    if isinstance(error, b2.Unauthorized):
        return f"the application key may not do that: {error}"
    return str(error) or type(error).__name__


def _network_reason(error: BaseException) -> str:
    """The host and what the system says, out of what urllib3 and requests wrap around it."""
    request = getattr(error, "request", None)
    host = urllib.parse.urlsplit(request.url).netloc if request is not None else ""
    deepest = _deepest(error)
    reason = (deepest.strerror if isinstance(deepest, OSError) else None) or type(deepest).__name__
    if isinstance(deepest, TimeoutError) or "Timeout" in type(deepest).__name__:
        reason = "no answer in time"
    return f"{host}: {reason}" if host else reason


def _deepest(error: BaseException) -> BaseException:
    """The first of the errors, by which the others came about."""
    inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
    if not isinstance(inner, BaseException):
        inner = next((part for part in error.args if isinstance(part, BaseException)), None)
    return error if inner is None else _deepest(inner)

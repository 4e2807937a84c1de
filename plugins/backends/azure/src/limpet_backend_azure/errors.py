"""What went wrong, in one plain line: errors of the service and of the way to it as those of the contract."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import urllib3
from limpet.contracts.retry_after import retry_after_s
from limpet.errors import BackendError, MissingFileError

LARGEST_SKEW_S = 10 * 60
"""The service refuses requests that are signed with a time more than 15 minutes off."""

_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_TRANSIENT_CODES = frozenset(
    {"Md5Mismatch", "ContainerBeingDeleted", "OperationTimedOut", "ServerBusy", "InternalError"}
)
_REASONS = {
    "ContainerNotFound": "the container does not exist; `init` makes it, or correct its name",
    "ContainerDisabled": "the container is disabled",
    "AccountIsDisabled": "the storage account is disabled; is its bill paid?",
    "AuthorizationPermissionMismatch": "the credentials do not allow this; it takes read, write, delete and list",
    "AuthorizationFailure": "the credentials do not allow this; it takes read, write, delete and list from here",
    "InsufficientAccountPermissions": "the credentials do not allow this",
    "BlobArchived": "the blob is in the archive tier; have it brought back to a warmer one first",
    "BlobImmutableDueToPolicy": "the blob may not be changed yet, by a policy of its container",
    "RequestBodyTooLarge": "the file is too large",
}
_SIGN_IN = "the key, signature or token is refused; check the account's name and the credentials"


def refused(what: str, status: int, headers: Mapping[str, str], body: bytes) -> BackendError:
    """The error for an answer that is no success."""
    code = code_of(headers, body)
    if code in {"BlobNotFound", "ContainerNotFound"} or (status == 404 and not code):
        return MissingFileError(f"{what}: {_REASONS.get(code, 'the blob does not exist')}")
    reason = _REASONS.get(code)
    if reason is None and (status == 401 or code in {"AuthenticationFailed", "InvalidAuthenticationInfo"}):
        reason = _clock_reason(headers) or _SIGN_IN
    shown = " ".join(str(part) for part in (status, code) if part)
    permanent = code not in _TRANSIENT_CODES and status not in _TRANSIENT_STATUS
    answered = f"the service answered {shown}"
    return BackendError(
        f"{what}: {reason} ({answered})" if reason else f"{what}: {answered}",
        permanent=permanent,
        retry_after_s=None if permanent else retry_after_s(headers.get("Retry-After")),
    )


def broken(what: str, host: str, error: Exception) -> BackendError:
    """The error for a connection that failed; only a certificate that is refused stays so."""
    if isinstance(error, urllib3.exceptions.TimeoutError) and not isinstance(
        error, urllib3.exceptions.NewConnectionError
    ):
        return BackendError(f"{what}: no answer from {host} in time")
    reason = _innermost(error)
    if isinstance(error, urllib3.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in reason:
        return BackendError(
            f"{what}: the certificate of {host} is not trusted; name its authority with --cacert ({reason})",
            permanent=True,
        )
    return BackendError(f"{what}: the connection to {host} failed: {reason}")


def code_of(headers: Mapping[str, str], body: bytes) -> str:
    """Azure's own word for what went wrong: in a header, mostly also in the XML; empty where it says none."""
    if "x-ms-error-code" in headers:
        return headers["x-ms-error-code"]
    _, _, rest = body.partition(b"<Code>")
    code, end, _ = rest.partition(b"</Code>")
    return code.decode("ascii", "replace") if end and code.isalnum() else ""


def _clock_reason(headers: Mapping[str, str]) -> str | None:
    try:
        skew_s = time.time() - parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (ValueError, TypeError):
        return None
    if abs(skew_s) < LARGEST_SKEW_S:
        return None
    direction = "ahead" if skew_s > 0 else "behind"
    return f"this machine's clock is {round(abs(skew_s) / 60)} minutes {direction}: set it"


def _innermost(error: BaseException) -> str:
    """The reason of the operating system or of TLS, without the names of the library's objects around it."""
    seen = error
    while True:
        inner = seen.__cause__ or seen.__context__ or next((a for a in seen.args if isinstance(a, Exception)), None)
        if inner is None or inner is seen:
            break
        seen = inner
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return str(seen) or type(seen).__name__

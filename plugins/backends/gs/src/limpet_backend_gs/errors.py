"""What went wrong, in one plain line: errors of the service and of the way to it as those of the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping

import urllib3
from limpet.contracts.retry_after import retry_after_s
from limpet.errors import BackendError, MissingFileError

_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_TRANSIENT_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "backendError"})
"""The service gives the first two as 403 as well."""


def refused(what: str, status: int, headers: Mapping[str, str], body: bytes) -> BackendError:
    """The error for an answer that is no success."""
    reason, said = _said(body)
    shown = f"{what}: {said}" if said else what
    if status == 404:
        return MissingFileError(shown if said else f"{what}: it does not exist")
    if status in _TRANSIENT_STATUS or reason in _TRANSIENT_REASONS:
        return BackendError(
            f"{shown} (the service answered {status})", retry_after_s=retry_after_s(headers.get("Retry-After"))
        )
    hint = ""
    if status == 401:
        hint = "; the token or key is not accepted: sign in again, or name another in GOOGLE_APPLICATION_CREDENTIALS"
    elif status == 403:
        hint = "; the account needs the role Storage Object Admin in this bucket"
    return BackendError(f"{shown} (the service answered {status}){hint}", permanent=True)


def broken(what: str, host: str, error: Exception) -> BackendError:
    """The error for a connection that failed; only a certificate that is refused stays so."""
    return BackendError(f"{what}: {reason(host, error)}", permanent=_is_certificate(error))


def reason(host: str, error: Exception) -> str:
    """Why the connection to the host failed."""
    if isinstance(error, urllib3.exceptions.TimeoutError) and not isinstance(
        error, urllib3.exceptions.NewConnectionError
    ):
        return f"no answer from {host} in time"
    if _is_certificate(error):
        return f"the certificate of {host} is not trusted; name its authority with --cacert ({_innermost(error)})"
    return f"the connection to {host} failed: {_innermost(error)}"


def _is_certificate(error: Exception) -> bool:
    return isinstance(error, urllib3.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in _innermost(error)


def _said(body: bytes) -> tuple[str, str]:
    """Reason and message of an error document; empty where the body is none."""
    try:
        error = json.loads(body)["error"]
        reasons = error.get("errors") or [{}]
        return str(reasons[0].get("reason", "")), str(error.get("message", "")).strip().partition("\n")[0][:300]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "", ""


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

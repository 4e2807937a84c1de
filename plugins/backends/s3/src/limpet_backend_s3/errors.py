"""What a service's refusals and a broken connection mean: one plain line, permanent or not."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree

import urllib3.exceptions
from limpet.contracts.retry_after import retry_after_s
from limpet.errors import BackendError, MissingFileError, StorageFullError

_TRANSIENT_4XX = frozenset({408, 409, 425, 429})
_PERMANENT_5XX = frozenset({501, 505, 507})
_TRANSIENT_CODES = frozenset(
    {"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "OperationAborted", "IncompleteBody"}
)
_SPACE_CODES = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "ServiceQuotaExceededException"}
)
CHANGED_CODES = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
"""The body that came is another than its checksum says."""
_NO_TLS = ("WRONG_VERSION", "HTTP_REQUEST")
_KEY_CODES = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no success."""

    status: int
    code: str
    """Amazon's name of the error; empty where the answer has no body, as that to a HEAD request."""
    message: str
    region: str | None
    """The region the bucket is in, where the service names it."""
    headers: Mapping[str, str]

    @classmethod
    def read(cls, status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
        values: dict[str, str] = {}
        try:
            root = ElementTree.fromstring(body) if body else None
            for element in [] if root is None else root:
                values[element.tag.rpartition("}")[2]] = (element.text or "").strip()
        except ElementTree.ParseError:
            pass  # an answer of something in between, such as a proxy
        return cls(
            status,
            values.get("Code", ""),
            " ".join(values.get("Message", "").split())[:300],
            headers.get("x-amz-bucket-region") or values.get("Region") or None,
            headers,
        )

    def __str__(self) -> str:
        return " ".join(
            part for part in (f"HTTP {self.status}", self.code, self.message and f"({self.message})") if part
        )


class RefusedError(BackendError):
    """A refusal by the service, kept for those who can tell its kinds apart."""

    def __init__(self, message: str, refusal: Refusal, *, permanent: bool) -> None:
        super().__init__(message, permanent=permanent, retry_after_s=retry_after_s(refusal.headers.get("retry-after")))
        self.refusal = refusal


def refused(what: str, refusal: Refusal, *, bucket: str, host: str) -> BackendError:
    """The error for a refusal; `what` could not be done, as in `save data/...`."""
    if refusal.code == "NoSuchBucket":
        return MissingFileError(f"{what}: there is no bucket {bucket!r} at {host}; `limpet init` makes one")
    if refusal.status == 404:
        return MissingFileError(f"{what}: the file does not exist")
    if refusal.code in _SPACE_CODES or refusal.status == 507:
        full = f"there is no space left in the bucket {bucket!r}; free some or raise its quota"
        return StorageFullError(f"{what}: {full}: {refusal}")
    reason = _permanent_reason(refusal, bucket, host)
    return RefusedError(
        f"{what}: {reason or f'{host} answered {refusal}'}",
        refusal,
        permanent=reason is not None or not _is_transient(refusal),
    )


def _is_transient(refusal: Refusal) -> bool:
    if refusal.status >= 500:  # also 509 and 520 to 529 of those in between
        return refusal.status not in _PERMANENT_5XX
    return refusal.code in _TRANSIENT_CODES or refusal.status in _TRANSIENT_4XX


def _permanent_reason(refusal: Refusal, bucket: str, host: str) -> str | None:
    """What to tell people where the kind of refusal is known, and the way out; None where it is not."""
    code, status = refusal.code, refusal.status
    if code == "RequestTimeTooSkewed":
        return f"{_skew(refusal)}; set the clock of this computer and run again"
    if code == "ExpiredToken":
        return "the session token has expired; get a new one and run again"
    if code == "InvalidObjectState":
        return "it is in an archive class; bring it back from there first, limpet does not do that"
    if code in _KEY_CODES or status == 401:
        reason = f"{host} does not accept the key; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    elif code == "BucketAlreadyExists":
        reason = f"the name {bucket!r} is taken by somebody else's bucket; choose another one"
    elif status == 403:
        reason = f"{host} does not allow this to the key in use, in the bucket {bucket!r}"
    elif status in {301, 307, 308}:
        reason = f"the bucket {bucket!r} is elsewhere; give its region by -o s3.region=REGION"
    else:
        return None
    return f"{reason}: {refusal}"


def broken(what: str, error: Exception, host: str) -> BackendError:
    """The error for a request that got no whole answer."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = f"the certificate of {host} is not trusted: {cause.verify_message}; name its authority by --cacert"
            return BackendError(f"{what}: {reason}", permanent=True)
        if isinstance(cause, ssl.SSLError) and (known := _known_tls_reason(cause, host)):
            return BackendError(f"{what}: {known}", permanent=True)
        if isinstance(cause, OSError) and str(cause).startswith("Tunnel connection failed: 4"):
            return BackendError(f"{what}: the proxy does not lead to {host}: {cause}", permanent=True)
        inner = next((item for item in cause.args if isinstance(item, BaseException)), None)
        cause = cause.__cause__ or inner or cause.__context__
    return BackendError(f"{what}: {_broken_reason(error, host)}")


def _known_tls_reason(error: ssl.SSLError, host: str) -> str | None:
    """What is wrong with TLS where trying again cannot mend it; None where that is not known."""
    said = error.reason or ""
    if any(word in said for word in _NO_TLS):
        return f"{host} speaks no TLS; is it s3:http:// instead?"
    if "CERTIFICATE" in said or "UNKNOWN_CA" in said:
        return f"{host} does not accept the client certificate, or wants one (--tls-client-cert): {error.reason}"
    return None


def _broken_reason(error: Exception, host: str) -> str:
    reason = _innermost(error)
    match error:
        case urllib3.exceptions.NewConnectionError():  # a kind of timeout to urllib3: it comes first
            return f"cannot connect to {host}: {reason}"
        case urllib3.exceptions.TimeoutError():
            return f"{host} did not answer in time"
        case urllib3.exceptions.SSLError():
            return f"no TLS connection to {host}: {reason}"
        case urllib3.exceptions.ProxyError():
            return f"no connection through the proxy to {host}: {reason}"
        case _:
            return f"the connection to {host} broke: {reason}"


def _innermost(error: BaseException) -> str:
    """The plain reason in one line, without urllib3's own objects in it."""
    seen: BaseException = error
    while True:
        if isinstance(seen, http.client.IncompleteRead):
            count = seen.partial if isinstance(seen.partial, int) else len(seen.partial)  # urllib3's has the number
            return f"the answer ended after {count} bytes, {seen.expected} were to come"
        inner = seen.__cause__ or next((item for item in seen.args if isinstance(item, BaseException)), None)
        if inner is None or inner is seen:
            break
        seen = inner
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return " ".join(str(seen).rpartition(": ")[2].split())[:200] or type(seen).__name__


def _skew(refusal: Refusal) -> str:
    try:
        theirs = parsedate_to_datetime(refusal.headers.get("date", ""))
    except (TypeError, ValueError):
        return "the clocks of this computer and of the server differ"
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    minutes = round((datetime.now(UTC) - theirs).total_seconds() / 60)
    return (
        f"the clock of this computer is {abs(minutes)} minutes {'ahead of' if minutes > 0 else 'behind'} the server's"
    )

"""Amazon's signature, version 4: what proves that a request is its sender's. Pure.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

from limpet_backend_s3.credentials import Credentials

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

Query = Sequence[tuple[str, str]]


def quote_path(path: str) -> str:
    """The path of an object as it is both signed and sent."""
    return quote(path, safe="/-_.~")


def quote_query(query: Query) -> str:
    """The query in the order in which it is signed."""
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query))


def signed_headers(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body_sha256: str,
    *,
    credentials: Credentials,
    region: str,
    now: datetime,
    service: str = "s3",
) -> dict[str, str]:
    """The headers to send: those given (names in lower case, `host` among them), and those of the signature.

    `path` and `query` are quoted, `body_sha256` is hexadecimal, `now` is UTC.
    """
    time = now.strftime("%Y%m%dT%H%M%SZ")
    day = time[:8]
    sent = {**headers, "x-amz-date": time, "x-amz-content-sha256": body_sha256}
    if credentials.session_token:
        sent["x-amz-security-token"] = credentials.session_token
    names = sorted(sent)
    lines = [method, path, query, *(f"{name}:{' '.join(sent[name].split())}" for name in names), "", ";".join(names)]
    request = "\n".join([*lines, body_sha256])
    scope = f"{day}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(_signing_key(credentials.secret_key, day, region, service), text.encode(), "sha256").hex()
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return sent


@lru_cache(maxsize=8)
def _signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret_key.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key

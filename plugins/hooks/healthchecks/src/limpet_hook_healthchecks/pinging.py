"""One ping of a healthchecks server."""

from __future__ import annotations

import urllib.request
from http.client import HTTPResponse
from typing import cast

from limpet.contracts.delivery import DeliveryError

_ANSWER_SIZE = 1000


def ping(url: str, body: bytes, timeout_s: float) -> None:
    """POST the body; DeliveryError, or what urllib raises, if it does not arrive."""
    headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "limpet"}
    request = urllib.request.Request(url, body, headers, method="POST")
    with cast(HTTPResponse, urllib.request.urlopen(request, timeout=timeout_s)) as answer:
        text = answer.read(_ANSWER_SIZE).decode(errors="replace")
    # The service answers 200 to a check that it does not know, and to pings that come too often: neither counts.
    if "not found" in text:
        raise DeliveryError("it does not know this check", is_final=True)
    if "rate limited" in text:
        raise DeliveryError("it was pinged too often", is_final=True)

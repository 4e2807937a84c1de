"""One ping of a healthchecks server: tried a few times, never for long."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import cast

from limpet.contracts.time_limit import within
from limpet.errors import HookError

PAUSE_S = 0.5
"""Before the second try; twice as long before each one after it."""
_ANSWER_SIZE = 1000
_WORTH_ANOTHER_TRY = {408, 429, *range(500, 600)}


class _PingError(Exception):
    """A ping that did not arrive."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


def ping(url: str, server: str, body: bytes, *, timeout_s: float, tries: int) -> None:
    """POST the body; HookError that names the server and the reason, never the URL, if it does not arrive.

    Each try, the name's look-up included, takes at most `timeout_s`.
    """
    for left in reversed(range(tries)):
        try:
            within(timeout_s, _posting(url, body, timeout_s))
        except (_PingError, TimeoutError) as error:
            if not left or (isinstance(error, _PingError) and error.is_final):
                # Not `from error`: a traceback would show the request.
                raise HookError(f"{server} was not told: {error}") from None
            time.sleep(PAUSE_S * 2 ** (tries - 1 - left))
        else:
            return


def _posting(url: str, body: bytes, timeout_s: float) -> Callable[[], None]:
    request = urllib.request.Request(
        url, body, {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "limpet"}, method="POST"
    )

    def post() -> None:
        try:
            with cast(HTTPResponse, urllib.request.urlopen(request, timeout=timeout_s)) as answer:
                text = answer.read(_ANSWER_SIZE).decode(errors="replace").strip()
        except urllib.error.HTTPError as error:
            error.close()
            words = f"it answered {error.code} {error.reason}"
            raise _PingError(words, is_final=error.code not in _WORTH_ANOTHER_TRY) from None
        except urllib.error.URLError as error:
            raise _PingError(_words(error.reason)) from None
        except (OSError, HTTPException) as error:
            raise _PingError(_words(error)) from None
        _require_heard(text)

    return post


def _require_heard(text: str) -> None:
    """The service answers 200 to a check that it does not know, and to pings that come too often: neither counts."""
    if "not found" in text:
        raise _PingError("it does not know this check", is_final=True)
    if "rate limited" in text:
        raise _PingError("it was pinged too often", is_final=True)


def _words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError):
        return reason.strerror or type(reason).__name__
    # The text of others may hold the address.
    return reason if isinstance(reason, str) else type(reason).__name__

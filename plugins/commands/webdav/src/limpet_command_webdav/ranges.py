"""Which ranges the library gets to see: it answers several with the last one, and some that are none with another."""

from __future__ import annotations

import re

from limpet_command_webdav.guard import Environ

_RANGE = re.compile(r"bytes=(?P<first>\d{0,18})-(?P<last>\d{0,18})", re.ASCII | re.IGNORECASE)


def keep_simple_range(environ: Environ) -> None:
    """Leave a single range of bytes; the answer to anything else is the whole file. Source: RFC 9110, 14.2."""
    given = environ.pop("HTTP_RANGE", "")
    match = _RANGE.fullmatch(given)
    if match is None or environ["REQUEST_METHOD"] != "GET":
        return
    first, last = match["first"], match["last"]
    if not first and last and int(last) == 0:
        environ["HTTP_RANGE"] = f"bytes={'9' * 18}-"  # no last byte is wanted: no file has this one
    elif (first or last) and not (first and last and int(last) < int(first)):
        environ["HTTP_RANGE"] = f"bytes={first}-{last}"

"""How long a server asks to be left alone. Source: RFC 9110, 10.2.3."""

from __future__ import annotations

import time
from datetime import UTC


def retry_after_s(header: str | None) -> float | None:
    """What `Retry-After` says, a number of seconds or a date, as seconds from now; None where it says nothing."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # hardly any server gives a date

    try:
        moment = parsedate_to_datetime(text)
        # "-0000" is a time in UTC too, only of nowhere in particular.
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None

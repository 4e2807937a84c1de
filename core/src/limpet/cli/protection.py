"""How long a snapshot is to be protected, as the command line says it."""

from __future__ import annotations

from datetime import datetime

from limpet.errors import UsageError
from limpet.format.snapshot import Protection
from limpet.format.timestamps import NS_PER_S, Time
from limpet.operations.retention import Span

TIME_FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")


def protection_from(
    start_ns: int, *, always: bool = False, span: Span | None = None, until: str | None = None
) -> Protection | None:
    """Protection for ever, for a span from the start on, or until a local time; None if none is wanted.

    UsageError for more than one of them, and for a time that is none or over.
    """
    if always + (span is not None) + (until is not None) > 1:
        raise UsageError("a snapshot is protected either always, or for a time")
    if span is not None:
        end = Time(span.after(Time(start_ns)))
    elif until is not None:
        end = Time(_parse_time(until))
    else:
        return Protection() if always else None
    if end.ns <= start_ns:
        raise UsageError("a snapshot cannot be protected until a time that is over")
    return Protection(end)


def _parse_time(text: str) -> int:
    for time_format in TIME_FORMATS:
        try:
            return int(datetime.strptime(text, time_format).timestamp()) * NS_PER_S
        except (ValueError, OverflowError, OSError):
            continue
    raise UsageError(f"invalid time {text!r}: write it as '2027-11-01' or '2027-11-01 22:08:41'")

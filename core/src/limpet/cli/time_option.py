"""A time given on the command line: restic's `2006-01-02 15:04:05` in the local zone."""

from __future__ import annotations

from datetime import datetime

from limpet.errors import UsageError
from limpet.format.timestamps import NS_PER_S

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def parse_time_option(text: str) -> int:
    """Nanoseconds since 1970; UsageError for any other form."""
    try:
        return int(datetime.strptime(text, TIME_FORMAT).timestamp()) * NS_PER_S
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"error in time option: {text!r} is not of the form '2012-11-01 22:08:41'") from error

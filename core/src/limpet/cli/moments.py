"""Points in time as people type them for `find --oldest`: the notations of restic's `find`."""

from __future__ import annotations

import re
import time

from limpet.errors import IntegrityError, UsageError
from limpet.format.timestamps import NS_PER_S, parse_time

_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)"
_SECOND = r":(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?"
_ZONE = r"(?: (?:(?P<offset>[+-]\d{4})|(?P<zone>[A-Z]{3,4}|[+-]\d\d)))?"
_DATES = (r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)", r"(?P<day>\d\d)\.(?P<month>\d\d)\.(?P<year>\d{4})")
_PATTERNS = [re.compile(rf"{date}(?: {_CLOCK}(?:{_SECOND}{_ZONE})?)?") for date in _DATES]
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_UNIX_DATE = re.compile(
    rf"(?i:mon|tue|wed|thu|fri|sat|sun) (?P<name>(?i:{'|'.join(_MONTHS)})) (?P<day>\d{{1,2}}) {_CLOCK}{_SECOND}"
    r" (?P<offset>[+-]\d{4}) (?:[A-Z]{3,4}|[+-]\d\d) (?P<year>\d{4})"
)


def parse_moment(text: str) -> int:
    """Nanoseconds since 1970 of a date, with or without time of day and zone; UsageError for anything else.

    `2006-01-02`, `02.01.2006`, each also with ` 15:04`, ` 15:04:05`, and then ` -0700` or ` MST`; and
    `Mon Jan 2 15:04:05 -0700 MST 2006`. In the local zone unless another is named.
    """
    for pattern in (*_PATTERNS, _UNIX_DATE):
        match = pattern.fullmatch(text)
        if match is not None:
            try:
                return _moment(match.groupdict())
            except IntegrityError:
                break  # no such date, or time of day
    raise UsageError(f'unable to parse time: "{text}"')


def _moment(parts: dict[str, str | None]) -> int:
    name = parts.get("name")
    month = _MONTHS.index(name.lower()) + 1 if name else int(parts["month"] or 0)
    numbers = [int(parts[key] or 0) for key in ("hour", "minute", "second")]
    wall = f"{parts['year']}-{month:02d}-{int(parts['day'] or 0):02d}T" + ":".join(f"{one:02d}" for one in numbers)
    fraction = (parts.get("fraction") or "").ljust(9, "0")[:9]
    utc = parse_time(f"{wall}.{fraction}Z").ns
    return utc - _offset_s(utc // NS_PER_S, parts) * NS_PER_S


def _offset_s(wall_s: int, parts: dict[str, str | None]) -> int:
    """The offset that holds when clocks on the wall show this; as in Go, an unknown abbreviation stands for UTC."""
    if offset := parts.get("offset"):
        seconds = int(offset[1:3]) * 3600 + int(offset[3:5]) * 60
        return -seconds if offset[0] == "-" else seconds
    zone = parts.get("zone")
    local = _local_offset(wall_s)
    if zone is None:
        return local
    if zone in {"UTC", "GMT"}:
        return 0
    for is_summer, name in enumerate(time.tzname):
        if zone == name:
            return -time.altzone if is_summer else -time.timezone
    return 0


def _local_offset(wall_s: int) -> int:
    """As Go's `time.Date` finds it: by the offset of the guess."""
    guess = time.localtime(wall_s).tm_gmtoff
    return time.localtime(wall_s - guess).tm_gmtoff

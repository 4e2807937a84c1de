"""Times as Go's `encoding/json` writes them: RFC 3339, nanoseconds, the zone of the instant.

In memory a time is integer nanoseconds since 1970 UTC: `datetime` has neither nanoseconds nor the year 0.
Source: FORMAT.md, "JSON: ids depend on every byte"; the vectors of Go's own answers are in the tests.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from limpet.errors import IntegrityError
from limpet.format import native

NS_PER_S = 1_000_000_000
_DAY_S = 86_400
_CYCLE_S = 146_097 * _DAY_S  # the Gregorian calendar repeats every 400 years, days of the week included
_MAX_CACHED = 1 << 14

OffsetLookup = Callable[[int], int]
"""From seconds since 1970 to the UTC offset in seconds that holds at that instant."""


class Time(NamedTuple):
    """An instant and the zone it was written in; `offset_s` None stands for the local zone at that instant."""

    ns: int
    offset_s: int | None = None


ZERO_TIME = Time(-62_135_596_800 * NS_PER_S, 0)
"""Go's zero time, 0001-01-01T00:00:00Z: what a missing time reads as."""


def local_offset(second: int) -> int:
    """UTC offset of the local zone at an instant, in seconds, for any instant at all."""
    # Beyond the C library's years the nearest equal year in the cycle of 400 stands in, at last one of our time.
    far = (20 if second > 0 else -6) * _CYCLE_S + second % _CYCLE_S
    for stand_in in (second, far, second % _CYCLE_S):
        try:
            return time.localtime(stand_in).tm_gmtoff
        except (OverflowError, OSError, ValueError):
            continue
    return -time.timezone


def format_time(ns: int, offset_s: int | None = None) -> str:
    """RFC 3339 text of an instant, trailing zeros of the fraction dropped; years clamped to 0..9999.

    Without an offset it is in the local zone at that instant.
    """
    second, fraction_ns = divmod(ns, NS_PER_S)
    head, zone = local_second(second) if offset_s is None else _fixed_second(second, offset_s)
    return head + fraction_text(fraction_ns) + zone


def local_time(ns: int) -> str:
    """`format_time` in the local zone, for the hot path."""
    second, fraction_ns = divmod(ns, NS_PER_S)
    head, zone = local_second(second)
    # Half the time of an f-string with 09d.
    return head + "." + str(NS_PER_S + fraction_ns)[1:].rstrip("0") + zone if fraction_ns else head + zone


def fraction_text(fraction_ns: int) -> str:
    """`.5` for half a second of nanoseconds, nothing for none."""
    return f".{fraction_ns:09d}".rstrip("0") if fraction_ns else ""


@lru_cache(_MAX_CACHED)
def local_second(second: int) -> tuple[str, str]:
    """Date with time, and zone, of a whole second in the local zone: the two sides of the fraction. Cached."""
    return format_second(second, local_offset)


@lru_cache(_MAX_CACHED)
def _fixed_second(second: int, offset_s: int) -> tuple[str, str]:
    return format_second(second, lambda _: offset_s)


def format_second(second: int, offset_at: OffsetLookup) -> tuple[str, str]:
    """Date with time, and zone, of a whole second in the zone that `offset_at` describes."""
    offset_s = offset_at(second)
    days, of_day = divmod(second + offset_s, _DAY_S)
    year, month, day = date_from_days(days)
    if not 0 <= year <= 9999:
        return format_second(_with_year(0 if year < 0 else 9999, month, day, of_day, offset_at), offset_at)
    hour, rest = divmod(of_day, 3600)
    minute, of_minute = divmod(rest, 60)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{of_minute:02d}", _zone_text(offset_s)


def _zone_text(offset_s: int) -> str:
    if offset_s == 0:
        return "Z"
    hours, minutes = divmod(abs(offset_s) // 60, 60)
    # Go cuts the seconds first, so an offset of minus half a minute is written with a plus.
    return f"{'-' if offset_s <= -60 else '+'}{hours:02d}:{minutes:02d}"


def _with_year(year: int, month: int, day: int, of_day: int, offset_at: OffsetLookup) -> int:
    """The instant with the same wall clock in another year."""
    return instant_of(days_from_date(year, month, day), of_day, offset_at)


def instant_of(days: int, of_day: int, offset_at: OffsetLookup) -> int:
    """Seconds since 1970 UTC at a wall clock, found as Go's `time.Date` finds it.

    The wall clock is days since 1970-01-01 and seconds of that day. One that daylight saving time leaves out is taken
    with the offset before or after the gap, one that comes twice for either.
    """
    wall = days * _DAY_S + of_day
    guess = offset_at(wall)
    return wall - offset_at(wall - guess) if guess else wall


def add_date(moment: Time, *, years: int = 0, months: int = 0, days: int = 0) -> Time:
    """The same time of day some years, months and days later, as Go's `Time.AddDate`: 31 April is 1 May.

    Go takes a time that was read with the local zone's offset for a local one, and so does this: the wall clock stays
    the same over a change of daylight saving time.
    """
    second, fraction_ns = divmod(moment.ns, NS_PER_S)
    offset_s = local_offset(second) if moment.offset_s is None else moment.offset_s
    is_local = moment.offset_s is None or (offset_s != 0 and local_offset(second) == offset_s)
    day_number, of_day = divmod(second + offset_s, _DAY_S)
    year, month, day = date_from_days(day_number)
    more_years, month = divmod(month - 1 + months, 12)
    first = days_from_date(year + years + more_years, month + 1, 1)
    moved = instant_of(first + day - 1 + days, of_day, local_offset if is_local else lambda _second: offset_s)
    return Time(moved * NS_PER_S + fraction_ns, None if is_local else offset_s)


def wall_clock(moment: Time) -> tuple[int, int]:
    """Days since 1970-01-01 and seconds of the day, as a clock in the moment's zone shows them."""
    second = moment.ns // NS_PER_S
    return divmod(second + (local_offset(second) if moment.offset_s is None else moment.offset_s), _DAY_S)


def date_from_days(days: int) -> tuple[int, int, int]:
    """Year, month and day of a number of days since 1970-01-01, proleptic Gregorian, any year."""
    era, of_era = divmod(days + 719_468, 146_097)  # eras begin on 1 March, so the leap day is the last
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return era * 400 + year_of_era + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


def days_from_date(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01; a 29 February that is not in the year is its 1 March."""
    era, year_of_era = divmod(year - (month <= 2), 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + of_year - 719_468


def go_duration(ns: int) -> str:
    """A length of time as Go's `Duration.String` shows it: `0s`, `59.5ms`, `1.5s`, `5m0s`, `1h0m3.25s`."""
    sign, ns = ("-" if ns < 0 else ""), abs(ns)
    if ns < NS_PER_S:
        unit, digits = next(one for one in (("ns", 0), ("µs", 3), ("ms", 6)) if ns < 10 ** (one[1] + 3))
        return sign + (_decimal(ns, digits) + unit if ns else "0s")
    minutes, rest_ns = divmod(ns, 60 * NS_PER_S)
    hours, minutes = divmod(minutes, 60)
    above = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{above}{_decimal(rest_ns, 9)}s"


def _decimal(number: int, digits: int) -> str:
    """`number / 10**digits`, exactly and without trailing zeros."""
    whole, fraction = divmod(number, 10**digits)
    return f"{whole}.{fraction:0{digits}d}".rstrip("0").rstrip(".") if fraction else str(whole)


_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_NUMBERS = re.compile("[0-9]+")


def parse_time(text: str) -> Time:
    """The instant and offset of an RFC 3339 text; IntegrityError for what Go would not read.

    Digits of the fraction beyond nanoseconds are cut off.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise IntegrityError(f"not a time: {text[:40]!r}")
    head, fraction, zone = match.groups()
    second = _wall_second(head)
    ns = int(fraction.ljust(9, "0")[:9]) if fraction else 0
    if zone == "Z":
        return Time(second * NS_PER_S + ns, 0)
    offset_s = _parse_zone(zone)
    return Time((second - offset_s) * NS_PER_S + ns, offset_s)


def parse_ns(text: str) -> int:
    """The instant alone of `parse_time`, for the hot path: a tenth of the time."""
    ns = native.parse_plain_ns(text)
    return parse_time(text).ns if ns is None else ns


@lru_cache(_MAX_CACHED)
def _wall_second(text: str) -> int:
    """Seconds from 1970 to the date and time of day, both in one zone."""
    year, month, day, hour, minute, second = map(int, _NUMBERS.findall(text))
    days = days_from_date(year, month, day)
    if not 1 <= month <= 12 or date_from_days(days) != (year, month, day) or hour > 23 or minute > 59 or second > 59:
        raise IntegrityError(f"no such date or time of day: {text}")
    return days * _DAY_S + hour * 3600 + minute * 60 + second


@lru_cache(_MAX_CACHED)
def _parse_zone(zone: str) -> int:
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 23 or minutes > 59:
        raise IntegrityError(f"no such time zone offset: {zone}")
    offset_s = hours * 3600 + minutes * 60
    return -offset_s if zone[0] == "-" else offset_s

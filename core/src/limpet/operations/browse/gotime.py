"""A time as Go's `Time.Format` writes it by a layout. Source: the documentation of Go's package `time`.

A layout shows how the reference time, Mon Jan 2 15:04:05 MST 2006, is to be written.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from limpet.format.timestamps import NS_PER_S, Time, date_from_days, days_from_date, local_offset, wall_clock

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_EPOCH_WEEKDAY = 4  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True)
class _Clock:
    """The moment, taken apart in its own zone."""

    year: int
    month: int
    day: int
    weekday: int
    day_of_year: int
    hour: int
    minute: int
    second: int
    fraction_ns: int
    offset_s: int
    zone: str
    """The zone's name, empty where only its offset is known."""


def format_go_time(moment: Time, layout: str) -> str:
    """The moment, in its own zone, by Go's layout."""
    clock = _clock(moment)
    parts: list[str] = []
    position = 0
    for match in _ELEMENT.finditer(layout):
        parts.append(layout[position : match.start()])
        parts.append(_written(match[0], clock))
        position = match.end()
    parts.append(layout[position:])
    return "".join(parts)


def _clock(moment: Time) -> _Clock:
    days, of_day = wall_clock(moment)
    year, month, day = date_from_days(days)
    second = moment.ns // NS_PER_S
    offset_s = local_offset(second) if moment.offset_s is None else moment.offset_s
    return _Clock(
        year,
        month,
        day,
        (days + _EPOCH_WEEKDAY) % 7,
        days - days_from_date(year, 1, 1) + 1,
        of_day // 3600,
        of_day // 60 % 60,
        of_day % 60,
        moment.ns % NS_PER_S,
        offset_s,
        _zone_name(moment, second, offset_s),
    )


def _zone_name(moment: Time, second: int, offset_s: int) -> str:
    """As Go finds it for a time that was read: UTC for Z, the local zone's name where the offset is the local one."""
    if moment.offset_s == 0:
        return "UTC"
    if offset_s == local_offset(second):
        try:
            return time.localtime(second).tm_zone
        except (OverflowError, OSError, ValueError):
            return ""
    return ""


def _zone(clock: _Clock, element: str) -> str:
    """`-07`, `-0700`, `-07:00`, and with seconds; with Z in place of the sign, Z alone stands for UTC."""
    if element[0] == "Z" and clock.offset_s == 0:
        return "Z"
    minutes, seconds = divmod(abs(clock.offset_s), 60)
    hours, minutes = divmod(minutes, 60)
    numbers = (hours, minutes, seconds)[: sum(digit.isdigit() for digit in element) // 2]
    # Go cuts the seconds first, so an offset of minus half a minute is written with a plus.
    sign = "-" if clock.offset_s <= -60 else "+"
    return sign + (":" if ":" in element else "").join(f"{number:02d}" for number in numbers)


def _name_of_zone(clock: _Clock) -> str:
    return clock.zone or _zone(clock, "-0700")


def _fraction(clock: _Clock, element: str) -> str:
    """`.000` is a fraction of three digits, `.999` the same without zeros at its end; a comma may stand for the dot."""
    digits = f"{clock.fraction_ns:09d}"[: len(element) - 1]
    if element[1] == "9":
        digits = digits.rstrip("0")
    return element[0] + digits if digits else ""


def _twelve(hour: int) -> int:
    return hour % 12 or 12


_ELEMENTS: dict[str, Callable[[_Clock], str]] = {
    "January": lambda c: _MONTHS[c.month - 1],
    "Jan": lambda c: _MONTHS[c.month - 1][:3],
    "Monday": lambda c: _WEEKDAYS[c.weekday],
    "Mon": lambda c: _WEEKDAYS[c.weekday][:3],
    "MST": _name_of_zone,
    "2006": lambda c: f"{c.year:04d}",
    "002": lambda c: f"{c.day_of_year:03d}",
    "__2": lambda c: f"{c.day_of_year:3d}",
    "01": lambda c: f"{c.month:02d}",
    "02": lambda c: f"{c.day:02d}",
    "03": lambda c: f"{_twelve(c.hour):02d}",
    "04": lambda c: f"{c.minute:02d}",
    "05": lambda c: f"{c.second:02d}",
    "06": lambda c: f"{max(c.year, 0) % 100:02d}",
    "15": lambda c: f"{c.hour:02d}",
    "_2": lambda c: f"{c.day:2d}",
    "PM": lambda c: "PM" if c.hour >= 12 else "AM",
    "pm": lambda c: "pm" if c.hour >= 12 else "am",
    "1": lambda c: str(c.month),
    "2": lambda c: str(c.day),
    "3": lambda c: str(_twelve(c.hour)),
    "4": lambda c: str(c.minute),
    "5": lambda c: str(c.second),
}
_ELEMENT = re.compile(
    # "Janet" and "Month" are no elements, and "_2006" is an underscore and a year.
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|002|__2|_2(?!006)"
    r"|0[1-6]|15|PM|pm|[12345]"
    r"|-070000|-07:00:00|-0700|-07:00|-07|Z070000|Z07:00:00|Z0700|Z07:00|Z07"
    r"|[.,](?:0+|9+)(?![0-9])"
)


def _written(element: str, clock: _Clock) -> str:
    write = _ELEMENTS.get(element)
    if write is not None:
        return write(clock)
    return _fraction(clock, element) if element[0] in ".," else _zone(clock, element)

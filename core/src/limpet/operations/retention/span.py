"""A length of time in years, months, days and hours, as `--keep-within` takes it: `1y5m7d2h`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from limpet.format.timestamps import NS_PER_S, Time, add_date

HOUR_NS = 3600 * NS_PER_S
_PART = re.compile(r"(-?)([0-9]*)(.?)", re.DOTALL)
_UNITS = {"y": "years", "m": "months", "d": "days", "h": "hours"}
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class Span:
    """Calendar units: a month is as long as the month is. False if it is empty."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __bool__(self) -> bool:
        return bool(self.years or self.months or self.days or self.hours)

    def __str__(self) -> str:
        parts = (self.years, "y"), (self.months, "m"), (self.days, "d"), (self.hours, "h")
        return "".join(f"{number}{unit}" for number, unit in parts if number)

    @property
    def is_negative(self) -> bool:
        """Whether any part of it is."""
        return min(self.years, self.months, self.days, self.hours) < 0

    def before(self, moment: Time) -> int:
        """The instant that long before the moment, in nanoseconds since 1970, by the calendar of its zone."""
        start = add_date(moment, years=-self.years, months=-self.months, days=-self.days)
        # Go counts hours in 64 bits of nanoseconds: more than 292 years of them wrap around, and so they do in restic.
        return start.ns + (-self.hours * HOUR_NS + _INT64) % (2 * _INT64) - _INT64

    def after(self, moment: Time) -> int:
        """The instant that long after the moment, in nanoseconds since 1970, by the calendar of its zone."""
        return add_date(moment, years=self.years, months=self.months, days=self.days).ns + self.hours * HOUR_NS


NO_SPAN = Span()


def parse_span(text: str) -> Span:
    """The span of a text such as `6y5m234d37h`; ValueError, in restic's words, for what is none.

    Units in any order; of a unit given twice the last counts.
    """
    text = text.strip()
    numbers: dict[str, int] = {}
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        assert match is not None
        sign, digits, unit = match.groups()
        if not digits:
            raise ValueError("no number found")
        number = int(sign + digits)
        if not -_INT64 <= number < _INT64:
            raise ValueError(f"number {sign}{digits} is out of range")
        if not unit:
            raise ValueError(f"no unit found after number {number}")
        if unit not in _UNITS:
            raise ValueError(f"invalid unit '{unit}' found after number {number}")
        numbers[_UNITS[unit]] = number
        position = match.end()
    return Span(**numbers)

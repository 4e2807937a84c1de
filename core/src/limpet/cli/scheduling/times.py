"""When a profile runs: expressions of systemd's calendar and of cron, checked, translated, and their next times."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from limpet.cli.configuration.document import Place
from limpet.cli.configuration.profiles import Schedule

CRON_FIELDS = 5
NEXT_RUNS = 3
WORDS = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "yearly": "0 0 1 1 *",
}
"""Words of systemd's calendar, as cron has to say them."""
_CRON = re.compile(r"(?:[\d*/,-]|Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)+", re.I)
_NEXT = re.compile(r"^\s*(?:Next elapse|Iter(?:ation|\.) #\d+): (.+)$", re.MULTILINE)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class When:
    """One expression of a schedule: cron's five fields, or systemd's calendar."""

    text: str
    place: Place

    @property
    def cron(self) -> str | None:
        """As cron says it; None where only systemd can."""
        if self.text.lower() in WORDS:
            return WORDS[self.text.lower()]
        return self.text if is_cron(self.text) else None

    @property
    def calendar(self) -> Sequence[str]:
        """As systemd's calendar says it; a line of cron's may need two expressions."""
        return calendars_of_cron(self.text) if is_cron(self.text) else [self.text]

    def next_runs(self, after: datetime, count: int = NEXT_RUNS) -> list[str]:
        """The next times, as text; none where nothing here can tell."""
        if self.cron is not None:
            return [f"{time:%a %Y-%m-%d %H:%M:%S}" for time in next_cron_runs(self.cron, after, count)]
        return calendar_times(self.text, count)


def when_of(schedule: Schedule) -> list[When]:
    """The expressions, each known to be one; ConfigurationError for the first that is none."""
    found = [When(text.strip(), place) for text, place in schedule.at]
    for when in found:
        _check(when)
    return found


def check_schedule(schedule: Schedule) -> None:
    """ConfigurationError for an expression that neither systemd nor cron understands, and for a bad delay."""
    when_of(schedule)
    delay = schedule.randomized_delay
    if delay is not None and shutil.which("systemd-analyze") and _analyze("timespan", delay) is None:
        raise schedule.place.mistake(f"{delay!r} is no time span of systemd's, such as 15min")


def is_cron(text: str) -> bool:
    """Whether the text has the five fields of a line of cron's."""
    fields = text.split()
    return len(fields) == CRON_FIELDS and all(_CRON.fullmatch(field) for field in fields)


def next_cron_runs(text: str, after: datetime, count: int = NEXT_RUNS) -> list[datetime]:
    """The next times of a line of cron's, by the clock on the wall."""
    from cronsim import CronSim  # noqa: PLC0415  # only for schedules

    return list(islice(CronSim(text, after), count))


def calendar_times(expression: str, count: int) -> list[str]:
    """The next times of an expression of systemd's; none where systemd-analyze is not there."""
    answer = _analyze("calendar", f"--iterations={count}", expression)
    return [match.strip() for match in _NEXT.findall(answer or "")]


def calendars_of_cron(text: str) -> list[str]:
    """A line of cron's in systemd's calendar. Where cron takes day of month OR day of week, there are two."""
    from cronsim import CronSim  # noqa: PLC0415  # only for schedules

    parsed = CronSim(text, datetime.now())
    time = f"{_numbers(parsed.hours, range(24))}:{_numbers(parsed.minutes, range(60))}:00"
    months = _numbers(parsed.months, range(1, 13))
    days = _numbers(parsed.days, range(1, 32))
    # Cron's week begins on Sunday and ends on Sunday, as 0 and 7; systemd's on Monday.
    weekdays = sorted({(int(str(day)) - 1) % 7 for day in parsed.weekdays})
    names = "" if len(weekdays) == len(_DAYS) else ",".join(_DAYS[day] for day in weekdays)
    if parsed.day_and:
        return [f"{names} *-{months}-{days} {time}".strip()]
    if not names or days == "*":
        return [f"*-{months}-* {time}"]
    return [f"*-{months}-{days} {time}", f"{names} *-{months}-* {time}"]


def _check(when: When) -> None:
    if is_cron(when.text):
        from cronsim import CronSim, CronSimError  # noqa: PLC0415

        try:
            CronSim(when.text, datetime.now())
        except CronSimError as error:
            raise when.place.mistake(f"{when.text!r} is no time of cron's: {error}") from error
    elif when.text.lower() not in WORDS and shutil.which("systemd-analyze") and not _analyze("calendar", when.text):
        raise when.place.mistake(
            f"{when.text!r} is neither a time of systemd's (`Mon..Fri 02:30`, `daily`) nor five fields of cron's "
            "(`30 2 * * 1-5`)"
        )


def _analyze(*arguments: str) -> str | None:
    """What systemd-analyze answers; None where it refuses, or is not there."""
    try:
        done = subprocess.run(
            ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _numbers(chosen: Collection[int], every: range) -> str:
    return "*" if len(chosen) == len(every) else ",".join(map(str, sorted(chosen)))

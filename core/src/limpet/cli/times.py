"""Instants as people read them: restic's `2006-01-02 15:04:05` in the local zone."""

from __future__ import annotations

import os
import time
from pathlib import Path

from limpet.format.timestamps import NS_PER_S, format_time, local_second


def format_local(ns: int) -> str:
    """Date and time of an instant in nanoseconds since 1970, in the local zone, to the second."""
    head, _zone = local_second(ns // NS_PER_S)
    return head.replace("T", " ")


def format_go_time(ns: int, offset_s: int) -> str:
    """An instant with its UTC offset as Go prints one: `2006-01-02 15:04:05.999999999 -0700 MST`."""
    date, _, rest = format_time(ns, offset_s).partition("T")
    clock = rest[: -1 if rest.endswith("Z") else -6]
    sign, minutes = "-" if offset_s < 0 else "+", abs(offset_s) // 60
    offset = f"{sign}{minutes // 60:02d}{minutes % 60:02d}"
    local = time.localtime(ns // NS_PER_S)
    zone = "UTC" if not offset_s else local.tm_zone if local.tm_gmtoff == offset_s else offset
    return f"{date} {clock} {offset} {zone}"


def format_go_duration(seconds: float) -> str:
    """A duration to the millisecond as Go prints one: `59ms`, `1.5s`, `1h2m3.25s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def zone_name() -> str:
    """The local zone's name as Go tells it: `UTC`, the name in TZ, or `local time`."""
    name = os.environ.get("TZ")
    if name is None:
        return "local time" if Path("/etc/localtime").exists() else "UTC"
    name = name.removeprefix(":")
    return name if name and time.tzname != ("UTC", "UTC") else "UTC"

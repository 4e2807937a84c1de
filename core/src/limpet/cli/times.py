"""Instants as people read them: restic's `2006-01-02 15:04:05` in the local zone."""

from __future__ import annotations

import os
import time
from pathlib import Path

from limpet.format.timestamps import NS_PER_S, local_second


def format_local(ns: int) -> str:
    """Date and time of an instant in nanoseconds since 1970, in the local zone, to the second."""
    head, _zone = local_second(ns // NS_PER_S)
    return head.replace("T", " ")


def zone_name() -> str:
    """The local zone's name as Go tells it: `UTC`, the name in TZ, or `local time`."""
    name = os.environ.get("TZ")
    if name is None:
        return "local time" if Path("/etc/localtime").exists() else "UTC"
    name = name.removeprefix(":")
    return name if name and time.tzname != ("UTC", "UTC") else "UTC"

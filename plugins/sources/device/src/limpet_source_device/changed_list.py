"""The user's list of what has changed since a snapshot.

Either JSON, `{"since": "4f3c2b1a", "ranges": [[offset, length], ...]}`, or lines: `since 4f3c2b1a`, then one
`OFFSET LENGTH` each. Bytes; `#` begins a comment. Everything that is not listed counts as it was in that snapshot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limpet.errors import UsageError

from limpet_source_device.ranges import Range

_SNAPSHOT = re.compile(r"[0-9a-f]{8,64}")
_FORM = "give lines `since SNAPSHOT` and `OFFSET LENGTH`, or the same as JSON"


@dataclass(frozen=True, slots=True)
class ChangedList:
    """What has changed since a snapshot."""

    since: str
    """The snapshot's id, or its first eight digits or more."""
    ranges: Sequence[Range]


def load_changed_list(file: str) -> ChangedList:
    """The list in a file; UsageError that names the file and line where it is none."""
    try:
        text = Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"device.changed: {file}: {reason}") from error
    since, ranges = _from_json(file, text) if text.lstrip().startswith("{") else _from_lines(file, text)
    if not isinstance(since, str) or not _SNAPSHOT.fullmatch(since):
        raise UsageError(
            f"device.changed: {file}: it must say since which snapshot: its id, or the first 8 digits; {_FORM}"
        )
    for offset, length in ranges:
        if offset < 0 or length < 0:
            raise UsageError(f"device.changed: {file}: a range below zero: {offset} {length}")
    return ChangedList(since, [(offset, offset + length) for offset, length in ranges])


def _from_json(file: str, text: str) -> tuple[object, list[tuple[int, int]]]:
    try:
        found = json.loads(text)
        ranges = [(_whole(offset), _whole(length)) for offset, length in found["ranges"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"device.changed: {file}: is no such list ({error!r}); {_FORM}") from error
    return found.get("since"), ranges


def _from_lines(file: str, text: str) -> tuple[object, list[tuple[int, int]]]:
    since: object = None
    ranges = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            first, second = words
            if first == "since":
                since = second
            else:
                ranges.append((int(first, 0), int(second, 0)))
        except ValueError as error:
            raise UsageError(f"device.changed: {file}, line {number}: {line!r} is no range; {_FORM}") from error
    return since, ranges


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no whole number")
    return value

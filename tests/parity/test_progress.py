"""How often, and where, the two programs tell how far they are: on pipes, at SIGUSR1, with RESTIC_PROGRESS_FPS."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from tests.parity.comparison import Document, is_status, parts
from tests.parity.conftest import Both
from tests.parity.documented import faults
from tests.parity.programs import Ended
from tests.services.waiting import wait_for

pytestmark = pytest.mark.interop

LASTS_S = 1.2
SLOW_BACKUP = """backup --stdin-from-command --host h1 -- sh -c
    'echo 123456; touch {place}/begun; until test -e {place}/end; do sleep 0.05; done'"""
"""Lasts from the file `begun` to the file `end`."""
_STATUS_LINE = re.compile(r"^(?:\[\d+:\d\d\] .*|/stdin)", re.MULTILINE)
"""Also the line of the file that is being read."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A backup that lasts, and how many times a second both programs should tell how far it is."""

    arguments: str
    per_s: float
    env: Mapping[str, str] = field(default_factory=dict)
    signals: int = 0

    @property
    def are_documents(self) -> bool:
        """Whether JSON is written."""
        return "--json" in self.arguments


def fps(value: str) -> Mapping[str, str]:
    """The environment that asks for so many updates a second."""
    return {"RESTIC_PROGRESS_FPS": value}


WATCHED = [
    Watched("", 0),
    Watched("--json", 10),
    Watched("--json --quiet", 0),
    Watched("", 5, fps("5")),
    Watched("--json", 5, fps("5")),
    Watched("--json", 30, fps("30")),
    Watched("--json --quiet", 5, fps("5")),
    Watched("--quiet", 5, fps("5")),
    Watched("--json", 0, fps("0.1")),
    Watched("", 0, signals=1),
    Watched("--quiet", 0, signals=1),
    Watched("--json --quiet", 0, signals=1),
]


def status_lines(ended: Ended) -> list[str]:
    """The status documents, or else lines, of an output; numbers are left out."""
    found = [part for part in parts(ended.out) if is_status(part)]
    if found:
        return [" ".join(sorted(part.value)) for part in found if isinstance(part, Document)]
    return [re.sub(r"\d+", "#", line) for line in _STATUS_LINE.findall(ended.out)]


@pytest.mark.parametrize("watched", WATCHED, ids=lambda one: f"{one.arguments} {dict(one.env)} {one.signals}")
def test_status_comes_as_often_as_restics(both: Both, watched: Watched) -> None:
    """A wrapper's progress bar would stand still, or a log would fill with thousands of lines."""

    places = both.start_in("empty", writes=True)
    words = [*shlex.split(watched.arguments), *shlex.split(SLOW_BACKUP)]
    begin = time.monotonic()
    started = [
        both.start(program, words, place, env=watched.env) for program, place in zip(both.programs, places, strict=True)
    ]
    for place in places:
        wait_for((place.folder / "begun").exists, "its command runs")
    time.sleep(LASTS_S)
    for _ in range(watched.signals):
        for one, place in zip(started, places, strict=True):
            shown = (place.folder / ".stdout").stat().st_size
            os.kill(one.running.pid, signal.SIGUSR1)
            wait_for(lambda place=place, shown=shown: (place.folder / ".stdout").stat().st_size > shown, "it is told")  # type: ignore[misc]
    told = []
    for one, place in zip(started, places, strict=True):
        (place.folder / "end").touch()
        ended = one.finish()
        assert ended.exit_code == 0, ended
        told.append(status_lines(ended))
    theirs, ours = told
    # A busy machine takes of their time: fewer come, and both last longer.
    per_s = watched.per_s if watched.are_documents else min(watched.per_s, 1)  # lines come when they change
    least = per_s * LASTS_S * 0.2 + watched.signals
    most = per_s * (time.monotonic() - begin) * 1.5 + watched.signals + 2
    for count in (len(theirs), len(ours)):
        assert least <= count <= most if least else count == 0, (least, most, told)
    if not watched.signals:  # else restic has counted the files beforehand, and Limpet not: nobody was looking
        assert set(ours) <= set(theirs) or set(theirs) <= set(ours), told


def test_status_documents_of_a_restore(both: Both) -> None:
    """A restore's progress bar would read keys that are not there."""
    places = both.start_in("history", writes=True)
    line = ["restore", "{s0}", "--target", "{place}/there", "--json", "--limit-download", "1000"]
    for ended, _ in both.run(line, places, env=fps("60")):
        found = [part.value for part in parts(ended.out) if isinstance(part, Document) and is_status(part)]
        assert found, ended
        assert [fault for value in found for fault in faults("restore status", value)] == []
        assert all(0 <= value["percent_done"] <= 1 for value in found)
        assert max(value.get("total_bytes", 0) for value in found) > 0

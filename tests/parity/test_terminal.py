"""On a terminal both programs leave the same lines on the screen, whatever they draw meanwhile."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.parity.comparison import differences
from tests.parity.conftest import Both
from tests.parity.programs import COLUMNS, Ended
from tests.parity.scenarios import Scenario
from tests.parity.screen import Screen
from tests.parity.table_terminal import TERMINAL

pytestmark = pytest.mark.interop

_LAST_STATE = re.compile(r"\[\d+:\d\d\] .* (?:index files loaded|files verified)$")
"""restic leaves these counters on a terminal, and only there. Limpet takes its display off the screen."""


@pytest.mark.parametrize("scenario", TERMINAL, ids=lambda scenario: scenario.name)
def test_same_screen(both: Both, scenario: Scenario) -> None:
    """Whoever has used restic for years would not find the line they look at."""
    places = both.start_in(scenario.repository, writes=scenario.writes)
    for command in scenario.commands:
        theirs, ours = both.run(command, places, on_terminal=True)
        found = differences((on_screen(theirs[0]), theirs[1]), (on_screen(ours[0]), ours[1]), scenario.match)
        if found:
            pytest.fail(f"{' '.join(command)}\n{found}", pytrace=False)


def on_screen(ended: Ended) -> Ended:
    """The output as it looks in the end."""
    screen = Screen(COLUMNS)
    screen.feed(ended.out)
    kept = [line for line in screen.lines if not _LAST_STATE.match(line)]
    return replace(ended, out="\n".join(kept).rstrip("\n") + "\n")

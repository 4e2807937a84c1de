"""Each command line of the table gives the same output with both programs."""

from __future__ import annotations

import pytest

from tests.parity.comparison import differences
from tests.parity.conftest import Both
from tests.parity.scenarios import Scenario
from tests.parity.table_failing import FAILING
from tests.parity.table_maintenance import MAINTENANCE
from tests.parity.table_reading import READING
from tests.parity.table_writing import WRITING

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("scenario", [*READING, *WRITING, *MAINTENANCE, *FAILING], ids=lambda scenario: scenario.name)
def test_same_output(both: Both, scenario: Scenario) -> None:
    """A script or wrapper that reads restic's output would break, or worse, read something else."""
    places = both.start_in(scenario.repository, writes=scenario.writes)
    for command in scenario.commands:
        theirs, ours = both.run(command, places, env=scenario.env, stdin=scenario.stdin, on_terminal=scenario.terminal)
        if found := differences(theirs, ours, scenario.match):
            pytest.fail(f"{' '.join(command)}\n{found}", pytrace=False)

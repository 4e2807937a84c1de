"""What people are told of a run."""

from __future__ import annotations

import pytest
from limpet.contracts.hooks import COMMANDS, RunInfo, RunResult, concerns
from limpet.contracts.run_report import duration_s, outcome, report_lines, report_title

RUN = RunInfo("backup", "path:/r", [], "vm", started_ns=10**18, profile="home")


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (RunResult(0), "success"),
        (RunResult(0, warnings=1), "warning"),
        (RunResult(3), "warning"),
        (RunResult(1), "failure"),
        (RunResult(130, warnings=1), "failure"),
    ],
)
def test_outcome(result: RunResult, word: str) -> None:
    """A failure that is called a warning is read tomorrow."""
    assert outcome(result) == word
    assert report_title(RUN, result).startswith(f"limpet backup on vm: {word}")


def test_lines() -> None:
    """Sizes as people read them; times and figures that are not known are not made up."""
    figures: dict[str, int | float | str] = {
        "files_new": 3,
        "data_added": 123,
        "total_bytes_processed": 5 * 2**40,
        "snapshot_id": "ab12",
        "backup_start": "2026-11-22",
        "total_duration": 5.5,
    }
    result = RunResult(0, None, figures, 2, ended_ns=RUN.started_ns + 2_500_000_000)
    assert list(report_lines(RUN, result)) == [
        "repository: path:/r",
        "profile: home",
        "started: 2001-09-09 01:46:40 UTC, took 2.5 s",
        "warnings: 2",
        "files new: 3",
        "data added: 123 B",
        "total bytes processed: 5.000 TiB",
        "snapshot id: ab12",
    ]
    bare = RunInfo("backup", "path:/r")
    assert list(report_lines(bare, RunResult(1, "no space"))) == ["repository: path:/r", "error: no space"]
    assert duration_s(bare, result) == 0
    assert duration_s(RUN, RunResult(1, ended_ns=RUN.started_ns - 5)) == 0, "the clock was set back"


def test_which_commands_a_hook_is_for() -> None:
    """A hook that takes part in too little tells nothing, one that does in too much tells the wrong."""
    assert concerns({}, RUN)
    assert concerns({COMMANDS.name: ""}, RUN)
    assert concerns({COMMANDS.name: "forget, backup"}, RUN)
    assert not concerns({COMMANDS.name: "forget,back"}, RUN)

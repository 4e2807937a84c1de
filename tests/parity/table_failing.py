"""The table of documented failures: exit codes, their words, and `exit_error` with --json."""

from __future__ import annotations

from collections.abc import Sequence

from tests.parity.comparison import Match
from tests.parity.scenarios import Scenario, reading, writing

WRONG_PASSWORD = {"RESTIC_PASSWORD": "falsch-9d2b"}
NO_REPOSITORY = {"RESTIC_REPOSITORY": "/nonexistent/repository"}

FAILING: Sequence[Scenario] = [
    *reading("snapshots", "snapshots --json", "cat config --quiet", "check --json", env=WRONG_PASSWORD),
    *reading("snapshots", "snapshots --json", "cat config", "list keys --json", "check --json", env=NO_REPOSITORY),
    *reading("snapshots", "snapshots --json", "snapshots --quiet", "ls latest --json", repository="locked", locks=True),
    *writing("check", "check --json", "key remove nosuch", "forget --keep-last 1 --json", repository="locked"),
    *reading("snapshots --json", env={"RESTIC_REPOSITORY": ""}),
    *reading("snapshots --json", env={"RESTIC_PASSWORD": ""}),
    *reading(
        "snapshots --json", env={"RESTIC_PASSWORD_FILE": "/nonexistent/file", "RESTIC_PASSWORD": ""}, match=Match.EXIT
    ),
    # Limpet's words say what would be right; scripts look at the exit code
    *reading(
        "list nosuch",
        "list",
        "check --read-data-subset nonsense",
        "check --json --read-data-subset nonsense",
        "key remove",
        "snapshots --nosuchflag",
        "snapshots --json --nosuchflag",
        "nosuchcommand",
        "snapshots --latest x",
        match=Match.EXIT,
    ),
]

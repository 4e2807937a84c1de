"""The table of commands on a terminal: what stands on the screen when they are done."""

from __future__ import annotations

from collections.abc import Sequence

from tests.parity.comparison import Match
from tests.parity.scenarios import Scenario, reading, writing

TERMINAL: Sequence[Scenario] = [
    *reading(
        "snapshots",
        "snapshots --json",
        "ls {s0}:/source/photos",  # no name here has controls in it: restic would write them, Limpet escapes them
        "key list",
        "list locks",
        "check",
        "check --read-data",
        terminal=True,
    ),
    *writing(
        "backup source --host h1",
        "backup source --host h1 --quiet",
        "forget --keep-last 1 --group-by ''",
        "prune",
        "tag --add new {s0}",
        "repair index",
        "restore {s0} --target {place}/there",
        "restore {s0} --target {place}/there --verify",
        terminal=True,
        match=Match.SIZES,
    ),
    *writing("backup source --host h1 -vv", terminal=True, match=Match.UNORDERED),
    *reading("snapshots", repository="locked", terminal=True, locks=True),
]

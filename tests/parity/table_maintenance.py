"""The table of commands that look after snapshots and the repository. Each program has a copy."""

from __future__ import annotations

from collections.abc import Sequence

from tests.parity.comparison import Match
from tests.parity.programs import PASSWORD
from tests.parity.scenarios import Scenario, reading, writing

FROM_HISTORY = {"RESTIC_FROM_REPOSITORY": "history/repository", "RESTIC_FROM_PASSWORD": PASSWORD}

FORGET: Sequence[Scenario] = [
    *writing(
        "forget --keep-last 1 --host h1",
        "forget --keep-last 1 --host h1 --json ; snapshots --json",
        "forget --keep-last 1 --host h1 --quiet",
        "forget --keep-daily 2 --keep-tag one --group-by '' --dry-run",
        "forget --keep-daily 2 --keep-tag one --group-by '' --dry-run --json",
        "forget --keep-within 1y --group-by '' --compact",
        "forget {s0}",
        "forget {s0} --json ; snapshots --json",
        "forget {s0} --dry-run",
        "forget nosuch",
        "forget nosuch --json",
        "forget",
        "forget --json",
        "forget --keep-tag nosuch --group-by ''",
        "forget --keep-tag nosuch --group-by '' --json",
        "forget --keep-last 1 --group-by '' --prune",
        "forget --keep-last 1 --group-by '' --prune --dry-run",
        "forget {s5} {s6} --prune",
    ),
    *writing(
        "forget --keep-last 1 --host h1 -vv",
        "forget --keep-last 1",
        "forget --keep-last 1 --json",
        "forget --keep-last 1 --group-by host,tags --json",
        match=Match.UNORDERED,  # restic's groups come in random order
    ),
    *writing("forget --keep-last 1 --json", repository="empty"),
]

PRUNE: Sequence[Scenario] = [
    *writing(
        "prune",
        "prune --quiet",
        "prune --dry-run",
        "prune --max-unused 0 -vv",
        "forget {s5} {s6} {s2} ; prune --max-unused 0",
        "forget {s5} {s6} {s2} ; prune --max-unused unlimited",
        "forget {s5} {s6} {s2} ; prune --max-unused 0 --max-repack-size 1 --dry-run -vv",
    ),
    *writing("prune", "prune --quiet", "prune --dry-run", repository="leftovers"),
    *writing("prune", repository="empty"),
    *writing("prune", repository="missing-pack", match=Match.EXIT),
    *writing("prune", repository="no-index", match=Match.EXIT),
    *writing("prune --max-unused nonsense", "forget --keep-last -2", match=Match.EXIT),
]

TAG: Sequence[Scenario] = [
    *writing(
        "tag --set new {s0}",
        "tag --set new {s0} --json",
        "tag --add more --tag one --json",
        "tag --remove one --quiet",
        "tag --add more -vv {s0} {s1}",
        "tag --remove nosuch",
        "tag --remove nosuch --json",
        "tag --set new nosuch",
        "tag",
        "tag --json",
        "tag --add a --set b",
        match=Match.UNORDERED,
    ),
]

REPAIR: Sequence[Scenario] = [
    *writing("repair index", "repair index --json", "repair index --quiet"),
    *writing("repair index --read-all-packs", match=Match.UNORDERED),
    *(
        row
        for damage in ("missing-pack", "no-index", "leftovers", "cut-pack", "bad-index")
        for row in writing("repair index", repository=damage, match=Match.DAMAGE)
    ),
    *writing("repair packs {pack}", "repair packs {pack} --json", repository="flipped-pack", match=Match.DAMAGE),
    *writing("repair packs", "repair packs nosuch", match=Match.EXIT),
    *writing("repair snapshots", "repair snapshots --dry-run", "repair snapshots --json", match=Match.UNORDERED),
    *writing(
        "repair index ; repair snapshots --forget ; snapshots --json",
        "repair index ; repair snapshots --dry-run",
        repository="missing-pack",
        match=Match.DAMAGE,
    ),
]

REWRITE: Sequence[Scenario] = [
    *writing(
        "rewrite --exclude '*.tmp' {s0}",
        "rewrite --exclude '*.tmp' {s0} --forget",
        "rewrite --exclude '*.tmp' {s0} --dry-run",
        "rewrite --exclude '*.tmp' {s0} --quiet",
        "rewrite --exclude nosuch {s0}",
        "rewrite --new-host other {s0} --forget ; snapshots",
        "rewrite",
        "rewrite --exclude x nosuch",
    ),
    *writing("rewrite --exclude '*.tmp' {s0} -vv", "rewrite --exclude '*.tmp'", match=Match.UNORDERED),
]

OTHERS: Sequence[Scenario] = [
    *writing("recover", "recover --quiet", "recover -v"),
    *writing("recover", repository="empty"),
    *reading("migrate", "migrate --quiet", locks=True),
    *reading("options", match=Match.EXIT),  # each lists the options of its own backends
]

COPY: Sequence[Scenario] = [
    *writing(
        "copy {s0} ; snapshots",
        "copy --quiet {s0}",
        "copy -v {s0}",
        "copy --json {s0}",
        "copy {s0} ; copy {s0}",
        "copy nosuch",
        repository="empty",
        env=FROM_HISTORY,
        match=Match.UNORDERED,
    ),
    *writing("copy", repository="empty", match=Match.EXIT),
]

MAINTENANCE = [*COPY, *FORGET, *PRUNE, *TAG, *REPAIR, *REWRITE, *OTHERS]

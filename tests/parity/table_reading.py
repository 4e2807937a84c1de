"""The table of commands that change nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tests.parity.comparison import Match
from tests.parity.scenarios import Scenario, reading

SNAPSHOTS: Sequence[Scenario] = [
    *reading(
        "snapshots",
        "snapshots --json",
        "snapshots --quiet",
        "snapshots -vv",
        "snapshots --json --tag nosuch",
        "snapshots --compact",
        "snapshots --latest 1",
        "snapshots {s0} {s1}",
        "snapshots --json nosuch",
        "snapshots --host h2 --path nosuch",
    ),
    *reading(
        "snapshots --group-by host --latest 1",
        "snapshots --group-by paths",
        "snapshots --group-by host,tags --json",
        match=Match.UNORDERED,  # restic's groups come in random order
    ),
    *reading("snapshots", "snapshots --json", "snapshots --compact", repository="empty"),
]

LS: Sequence[Scenario] = [
    *reading(
        "ls latest",
        "ls latest --json",
        "ls --long {s0} /source/docs",
        "ls --json {s0} /source/docs",
        "ls --quiet latest",
        "ls -vv latest",
        "ls latest --ncdu",
        "ls {s3}:/source/docs --json",
        "ls --long --human-readable latest --sort size --reverse",
        "ls nosuch",
        "ls nosuch --json",
        "ls {s0}:/nosuch",
        "ls latest --host nosuch",
    ),
    *reading("ls latest", "ls latest --json", repository="empty"),
]

OBJECTS: Sequence[Scenario] = [
    *reading(
        "cat config",
        "cat config --json",
        "cat snapshot {s2}",
        "cat index {index}",
        "cat key {key}",
        "cat tree {s0}:/source/docs",
        "cat tree {s0}",
        "cat masterkey",
        "cat blob {blob} --quiet",
        "cat nosuch",
        "cat snapshot",
        "cat snapshot nosuch --json",
        "key list",
        "key list --json",
        "key list --quiet",
        "list locks",
        "dump {s0} /source/docs/text",
        "dump {s0} /source/docs/text --quiet",
        "dump latest /source/docs/nosuch",
        "dump latest /source/docs/nosuch --json",
        "dump nosuch /",
    ),
    *reading("list snapshots", "list keys", "list index", "list packs", "list blobs", match=Match.UNORDERED),
    *reading("list snapshots --json", match=Match.UNORDERED),
]

CHECK: Sequence[Scenario] = [
    *reading(
        "check",
        "check --json",
        "check --quiet",
        "check -vv --read-data",
        "check --read-data --json",
        "check --read-data-subset 1/2",
        "check --read-data-subset 100%",
        "check --read-data-subset 50G",
        "check {s0} --read-data",
        "check --tag one",
        "check --no-lock",
    ),
    *reading("check", "check --json", repository="empty"),
    *reading("check", "check --json", repository="missing-pack", match=Match.DAMAGE),
    *reading("check", "check -v", "check --json", repository="leftovers", match=Match.UNORDERED),
    *(
        row
        for damage in ("cut-pack", "flipped-pack", "no-index", "bad-index", "bad-snapshot")
        for row in reading("check --read-data", "check --read-data --json", repository=damage, match=Match.DAMAGE)
    ),
]

FIND: Sequence[Scenario] = [
    *reading(
        "find text",
        "find text --json",
        "find '*.tmp' big --long",
        "find text --human-readable --long",
        "find --ignore-case TEXT --snapshot {s0}",
        "find --oldest 2024-01-15 --newest 2025-01-01 text --json",
        "find nosuch",
        "find nosuch --json",
        "find --reverse text",
        "find text --host h2 --json",
        "find --blob {blob}",
        "find --blob {blob} --json",
        "find --blob {blob} --show-pack-id",
        "find --tree {tree}",
        "find --tree {tree} --json",
        "find --pack {pack}",
        "find --blob nosuch",
        "find text -v",
        "find text --quiet",
    ),
    *reading("find", "find --blob --tree x", "find --oldest nonsense text", match=Match.EXIT),
    *reading("find text", "find text --json", repository="empty"),
]

DIFF: Sequence[Scenario] = [
    *reading(
        "diff {s0} {s3}",
        "diff {s0} {s3} --json",
        "diff {s0} {s3} --metadata",
        "diff {s0} {s3} --metadata --json",
        "diff {s3} {s0} --quiet",
        "diff {s0} {s0}",
        "diff {s0}:/source/docs {s3}:/source/docs",
        "diff {s5} {s6} -v",
        "diff {s0} nosuch",
        "diff {s0} nosuch --json",
        "diff {s0}:/nosuch {s3}",
    ),
    *reading("diff {s0}", "diff", match=Match.EXIT),
]

STATS: Sequence[Scenario] = [
    *reading(
        *(
            f"stats --mode {mode}{more}"
            for mode in ("restore-size", "files-by-contents", "blobs-per-file", "raw-data")
            for more in ("", " --json", " {s0}")
        ),
        "stats",
        "stats --quiet",
        "stats -v --host h2",
        "stats latest --json",
        "stats nosuch",
        "stats --mode nosuch",
        "stats --mode nosuch --json",
    ),
    *reading("stats", "stats --json", "stats --mode raw-data --json", repository="empty"),
]

PROGRAM: Sequence[Scenario] = reading("version", "version --json", match=Match.SHAPE)

READING = [*SNAPSHOTS, *LS, *OBJECTS, *CHECK, *FIND, *DIFF, *STATS, *PROGRAM]

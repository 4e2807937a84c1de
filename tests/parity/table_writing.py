"""The table of commands that change the repository or restore from it. Each program has a copy."""

from __future__ import annotations

from collections.abc import Sequence

from tests.parity.comparison import Match
from tests.parity.scenarios import Scenario, writing

INIT: Sequence[Scenario] = [
    # scrypt takes half a second here: a new repository costs what a password is worth
    *writing(
        "init --repo {place}/new --json",
        "init --repo {place}/new",
    ),
    *writing("init", match=Match.EXIT),
]

BACKUP: Sequence[Scenario] = [
    *writing(
        "backup source --host h1",
        "backup source --host h1 --json",
        "backup source --host h1 --verbose",
        "backup source --host h1 --quiet",
        "backup source --host h1 --quiet --json",
        "backup source --host h3 --dry-run",
        "backup source --host h3 --dry-run --json",
        "backup source --host h1 --parent {s3}",
        "backup source --host h1 ; backup source --host h1 --skip-if-unchanged",
        "backup source --host h1 ; backup source --host h1 --skip-if-unchanged --json",
        "backup source/docs --force --host h1",
        "backup source source/nosuch --json --host h1",
        "backup source source/nosuch --host h1",
        "backup source/nosuch --json",
        "backup source/nosuch",
        "backup",
        "backup --json",
        match=Match.SIZES,
    ),
    *writing(
        "backup source --host h1 -vv --exclude '*.tmp'",
        "backup source --host h1 --json -v --exclude '*.tmp'",
        "backup source --host h3 --json -vv --dry-run",
        match=Match.UNORDERED,  # files are read at the same time
    ),
    *writing(
        "backup --stdin --stdin-filename piped --host h1 ; ls latest",
        "backup --stdin --json --host h1",
        "backup --stdin --verbose --host h1",
        match=Match.SHAPE,  # the file has another owner
        stdin=b"what is piped in\n" * 1000,
    ),
    # restic takes any snapshot of the host for the parent of a command's output
    *writing("backup --stdin-from-command --host h1 -- echo said", match=Match.EXIT),
    *writing("backup --stdin-from-command --json --host h1 -- false", match=Match.SHAPE),
]

RESTORE: Sequence[Scenario] = [
    *writing(
        "restore {s0} --target {place}/there",
        "restore {s0} --target {place}/there --json",
        "restore {s0} --target {place}/there --quiet",
        "restore {s0} --target {place}/there --verbose",
        "restore {s0} --target {place}/there --quiet --json",
        "restore {s0} --target {place}/there --verify",
        "restore {s0} --target {place}/there --verify --json",
        "restore {s0}:/source/docs --target {place}/there ; restore {s4}:/source/docs --target {place}/there --delete",
        "restore {s0}:/source/docs --target {place}/there ; "
        "restore {s4}:/source/docs --target {place}/there --delete --json",
        "restore {s0} --target {place}/there ; restore {s0} --target {place}/there --overwrite never",
        "restore {s0} --target {place}/there ; restore {s0} --target {place}/there --overwrite if-changed --json",
        "restore latest --target {place}/there --include '*text' --json",
        "restore {s0} --target {place}/there --dry-run",
        "restore {s0} --target {place}/there --dry-run --json",
        "restore nosuch --target {place}/there",
        "restore nosuch --target {place}/there --json",
        "restore {s0}:/nosuch --target {place}/there",
        "restore {s0}",
    ),
    *writing(
        "restore {s0} --target {place}/there -vv",
        "restore {s0} --target {place}/there --json -vv",
        "restore {s0}:/source/docs --target {place}/there ; "
        "restore {s4}:/source/docs --target {place}/there --delete -vv --json",
        "restore {s0} --target {place}/there --dry-run -vv",
        match=Match.UNORDERED,  # files are written at the same time
    ),
    *writing(
        "restore {s0} --target {place}/there",
        "restore {s0} --target {place}/there --json",
        repository="missing-pack",
        match=Match.EXIT,  # restic tells of each file several times
    ),
]

KEYS_AND_LOCKS: Sequence[Scenario] = [
    *writing("unlock", "unlock --remove-all", "unlock --quiet", "unlock --json"),
    *writing("unlock", "unlock --remove-all", "unlock --json --remove-all", repository="locked"),
    *writing("key remove {key}", "key remove nosuch"),
]

WRITING = [*INIT, *BACKUP, *RESTORE, *KEYS_AND_LOCKS]

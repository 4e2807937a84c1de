"""Each JSON document that restic documents comes from Limpet with the keys and types that are documented."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.parity.comparison import Document, parts
from tests.parity.conftest import Both
from tests.parity.documented import DOCUMENTED, faults
from tests.parity.programs import Ended

pytestmark = pytest.mark.interop

OFTEN = {"RESTIC_PROGRESS_FPS": "60"}


@dataclass(frozen=True, slots=True)
class Producer:
    """A command that writes documents of one kind; with `type` those of this `message_type`."""

    document: str
    line: str
    type: str = ""
    repository: str = "history"
    writes: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    restic_too: bool = True
    """False where the restic that judges is older than its documentation."""


PRODUCERS = [
    Producer("exit_error", "ls nosuch --json", "exit_error"),
    Producer("backup status", "backup --stdin-from-command --json -- sleep 0.4", "status", writes=True, env=OFTEN),
    Producer("backup error", "backup source /proc/self/mem --json --dry-run", "error", writes=True),
    Producer("backup verbose_status", "backup source --json -v --host new", "verbose_status", writes=True),
    Producer("backup summary", "backup source --json --host h1", "summary", writes=True),
    Producer("backup summary", "backup source --json --host h1 --dry-run", "summary", writes=True),
    Producer("check summary", "check --json", "summary"),
    Producer("check summary", "check --json --read-data", "summary", "flipped-pack"),
    Producer("check error", "check --json", "error", "missing-pack"),
    Producer("diff change", "diff {s0} {s3} --json --metadata", "change"),
    Producer("diff statistics", "diff {s0} {s3} --json", "statistics"),
    Producer("find", "find --json text '*.tmp'"),
    Producer("find blob", "find --json --blob {blob}"),
    Producer("find blob", "find --json --tree {tree}"),
    Producer("stats", "stats --json"),
    Producer("stats", "stats --json --mode raw-data"),
    Producer("forget", "forget --keep-last 1 --json --dry-run"),
    Producer("forget", "forget --keep-last 1 --json --dry-run --group-by ''"),
    Producer("prune summary", "prune --json", "summary", writes=True, restic_too=False),
    Producer("init", "init --repo {place}/new --json", "initialized", writes=True),
    Producer("key", "key list --json"),
    Producer("ls snapshot", "ls {s0} --json", "snapshot"),
    Producer("ls node", "ls {s0} --json", "node"),
    Producer("restore verbose_status", "restore {s0} --target {place}/x --json -vv", "verbose_status", writes=True),
    Producer("restore summary", "restore {s0} --target {place}/x --json", "summary", writes=True),
    Producer("restore error", "restore {s0} --target {place}/x --json", "error", "missing-pack", writes=True),
    Producer("snapshot", "snapshots --json"),
    Producer("tag changed", "tag --add new --json", "changed", writes=True),
    Producer("tag summary", "tag --add new --json", "summary", writes=True),
    Producer("version", "version --json", "version"),
]


def documents(ended: Ended, message_type: str) -> Iterator[Any]:
    """The documents of both streams; the elements of those that are lists."""
    for part in parts(ended.out) + parts(ended.err):
        for value in _elements(part):
            if not message_type or value.get("message_type") == message_type:
                yield value


def _elements(part: Document | str) -> list[Any]:
    if not isinstance(part, Document):
        return []
    return part.value if isinstance(part.value, list) else [part.value]


@pytest.mark.parametrize("producer", PRODUCERS, ids=lambda producer: f"{producer.document}: {producer.line}")
def test_keys_and_types(both: Both, producer: Producer) -> None:
    """A program written after restic's documentation would miss a key, or trip over another type."""
    places = both.start_in(producer.repository, writes=producer.writes)
    for program, (ended, _) in zip(
        both.programs, both.run(shlex.split(producer.line), places, env=producer.env), strict=True
    ):
        if program.name == "limpet" or producer.restic_too:
            found = list(documents(ended, producer.type))
            assert found, (program.name, ended)
            assert [fault for value in found for fault in faults(producer.document, value)] == [], program.name


PRUNE_TOTALS = {
    "to repack": ("repack",),
    "this removes": ("repack_remove",),
    "to delete": ("remove", "unreferenced"),
    "total prune": ("remove_total", "unreferenced"),
    "remaining": ("remaining",),
}


@pytest.mark.parametrize("command", ["prune --max-unused 0", "prune --max-unused unlimited --dry-run"])
def test_prune_document_says_what_restic_says_in_words(both: Both, command: str) -> None:
    """A report made from the document would show other numbers than restic. (restic 0.19.1 writes text only.)"""
    places = both.start_in("history", writes=True)
    both.run(["forget", "{s5}", "{s6}", "{s2}", "--quiet"], places)
    restic, limpet = both.programs
    theirs = both.start(restic, shlex.split(command), places[0]).finish().out
    ours = both.start(limpet, [*shlex.split(command), "--json"], places[1]).finish()
    (document,) = documents(ours, "summary")
    for title, names in PRUNE_TOTALS.items():
        stated = re.search(rf"^{title}: +(\d+) blobs", theirs, re.MULTILINE)
        assert stated, theirs
        assert document["blobs"][names[0]] == int(stated[1]), title


def test_every_documented_document_is_produced() -> None:
    """A kind of document that nobody looks at may be wrong for years."""
    entries = [entry for text in DOCUMENTED.values() for entry in text.split()]
    inner = {re.sub(r"[\[\]]|\|null", "", entry.split(":")[1]) for entry in entries}
    assert set(DOCUMENTED) - inner - {producer.document for producer in PRODUCERS} == {"restore status"}

"""`limpet check`: look for damage in a repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.parameters import parse_size
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.errors import UsageError
from limpet.ids import short
from limpet.operations.check import (
    CheckOptions,
    CheckResult,
    EveryPack,
    Finding,
    FindingKind,
    PackBytes,
    PackGroup,
    PackPercent,
    Subset,
    check,
)
from limpet.repository.repository import Repository
from limpet.repository.snapshots import select_snapshots

INVALID_SUBSET = "check flag --read-data-subset has invalid value: give n/t, x% or a size such as 500M"


@click.command("check")
@snapshot_filter_options()
@click.option("--read-data", is_flag=True, help="read all data blobs")
@click.option(
    "--read-data-subset",
    metavar="subset",
    default="",
    help="read a subset of data packs: 'n/t' for a part, or 'x%', or a size with a suffix K, M, G, T",
)
@click.option("--check-unused", is_flag=True, hidden=True)
@click.option("--with-cache", is_flag=True, help="use existing cache, only read uncached data from repository")
@click.argument("snapshot_ids", nargs=-1, metavar="[SNAPSHOTID]...")
@pass_session
def command(
    session: Session,
    *,
    snapshot_ids: Sequence[str],
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
    read_data: bool,
    read_data_subset: str,
    check_unused: bool,
    with_cache: bool,
) -> None:
    """Check the repository for errors."""
    if read_data and read_data_subset:
        raise UsageError("check flags --read-data and --read-data-subset cannot be used together")
    subset = EveryPack() if read_data else parse_subset(read_data_subset)
    wanted = snapshot_filter(host, tag, path)
    if not with_cache:
        session.leave_cache()  # what is checked is the repository itself
    if not session.no_lock:
        session.reporter.note("create exclusive lock for repository")
    with session.locked_repository(exclusive=True) as repository:
        trees = None
        if snapshot_ids or not wanted.is_empty:
            chosen = select_snapshots(repository, snapshot_ids, wanted)
            trees = [stored.snapshot.tree for stored in chosen if stored.snapshot.tree is not None]
        result = check(repository, CheckOptions(subset, trees), session.reporter, _teller(session))
        _finish(session, repository, result)


def parse_subset(text: str) -> Subset | None:
    """What --read-data-subset asks for; None without it. UsageError where it makes no sense."""
    if not text:
        return None
    if match := re.fullmatch(r"(\d+)/(\d+)", text):
        return PackGroup(int(match[1]), int(match[2]))
    if text.endswith("%"):
        try:
            return PackPercent(float(text[:-1]))
        except ValueError as error:
            raise UsageError(INVALID_SUBSET) from error
    try:
        return PackBytes(parse_size(text))
    except ValueError as error:
        raise UsageError(INVALID_SUBSET) from error


class _teller:  # noqa: N801 - used as a function
    """Tells each finding when it is made, in restic's words."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, finding: Finding) -> None:
        for line in _lines(finding):
            if self._session.json:
                self._session.terminal.error_json({"message_type": "error", "message": line})
            elif finding.kind is FindingKind.PACK_UNREFERENCED:
                self._session.reporter.note(line, verbosity=2)
            else:
                self._session.reporter.warning(line)


def _lines(finding: Finding) -> list[str]:
    subject = short(finding.subject)
    match finding.kind:
        case FindingKind.TREE:
            return [f"error for tree {subject}:", *(f"  {detail}" for detail in finding.details)]
        case FindingKind.SNAPSHOT:
            return [f"snapshot error {finding.subject.hex()}: {detail}" for detail in finding.details]
        case FindingKind.INDEX:
            return [f"error: {detail}" for detail in finding.details]
        case _:
            return list(finding.details)


def _finish(session: Session, repository: Repository, result: CheckResult) -> None:
    """Say what follows from the findings; CommandExit if there is damage."""
    errors = result.errors
    if session.json:
        session.print_json(_summary(result))
    else:
        for line in _advice(result):
            session.reporter.warning(line)
    if errors:
        raise CommandExit(EXIT_FAILED, "Fatal: repository contains errors")
    session.say("no errors were found")


def _advice(result: CheckResult) -> list[str]:
    lines = []
    orphans = sum(finding.kind is FindingKind.PACK_UNREFERENCED for finding in result.findings)
    if result.has(FindingKind.DUPLICATE_PACK):
        lines.append("Duplicate packs are non-critical, you can run `restic repair index' to correct this.")
    if result.has(FindingKind.MIXED_PACK):
        lines.append(
            "Mixed packs with tree and data blobs are non-critical, you can run `restic prune` to correct this."
        )
    if orphans and not result.errors:
        lines.append(
            f"{orphans} additional files were found in the repo, which likely contain duplicate data.\n"
            "This is non-critical, you can run `restic prune` to correct this."
        )
    if result.has(FindingKind.INDEX):
        lines.append("\nThe repository index is damaged and must be repaired: run `restic repair index'.\n")
    if result.broken_packs:
        ids = " ".join(pack_id.hex() for pack_id in result.broken_packs)
        lines.append(
            "\nThe repository contains damaged pack files. They must be removed to repair the repository:\n\n"
            f"restic repair packs {ids}\nrestic repair snapshots --forget\n"
        )
    if result.broken_snapshots:
        ids = " ".join(snapshot_id.hex() for snapshot_id in result.broken_snapshots)
        lines.append(
            "\nThe repository contains damaged snapshot files. They must be removed to repair the repository:\n\n"
            f"restic repair snapshots --forget {ids}\n"
        )
    return lines


def _summary(result: CheckResult) -> dict[str, Any]:
    count = sum(len(one.details) for one in result.errors if one.kind is not FindingKind.SNAPSHOT)
    return {
        "message_type": "summary",
        "num_errors": count,
        "broken_packs": [pack_id.hex() for pack_id in result.broken_packs] or None,
        "suggest_repair_index": result.has(FindingKind.DUPLICATE_PACK, FindingKind.INDEX),
        "suggest_prune": result.has(FindingKind.MIXED_PACK, FindingKind.PACK_UNREFERENCED),
    }

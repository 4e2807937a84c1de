"""`limpet check`: look for damage in a repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import click

from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.json_output import encode_json
from limpet.cli.parameters import parse_size
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.errors import LimpetError, UsageError
from limpet.ids import SHORT_HEX
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
    """Check the repository for errors.

    Without --with-cache the local cache is left out: what is checked is the repository itself.
    """
    if read_data and read_data_subset:
        raise UsageError("check flags --read-data and --read-data-subset cannot be used together")
    if check_unused:
        session.terminal.error("Flag --check-unused has been deprecated, `--check-unused` is deprecated and is ignored")
    subset = EveryPack() if read_data else parse_subset(read_data_subset)
    options = CheckOptions(subset, snapshot_ids, snapshot_filter(host, tag, path))
    output = CheckOutput(session)
    try:
        if not session.no_lock:
            session.reporter.note("create exclusive lock for repository")
        with session.locked_repository(exclusive=True, no_lock=session.no_lock, use_cache=with_cache) as repository:
            result = check(repository, options, session.reporter, output.tell)
    except LimpetError:
        if session.json:
            session.print_json(_summary(CheckResult(), 1))
        raise
    output.finish(result)


def parse_subset(text: str) -> Subset | None:
    """What --read-data-subset asks for; None without it. UsageError where it makes no sense."""
    if not text:
        return None
    if match := re.fullmatch(r"(\d+)/(\d+)", text):
        return PackGroup(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"([-+]?(?:\d+\.?\d*|\.\d+))%", text):
        return PackPercent(float(match[1]))
    if text.isdigit():
        raise UsageError(INVALID_SUBSET)  # as restic: a bare number may have been meant as anything
    try:
        return PackBytes(parse_size(text))
    except ValueError as error:
        raise UsageError(INVALID_SUBSET) from error


class CheckOutput:
    """Tells findings when they are made, and in the end what follows from them, in restic's words."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def tell(self, finding: Finding) -> None:
        """Errors on standard error, what does no harm on standard output."""
        for line in _lines(finding):
            if finding.is_error:
                self._error(line)
            elif finding.kind is FindingKind.PACK_UNREFERENCED:
                self._session.reporter.note(line, verbosity=2)
            else:
                self._hint(line)

    def finish(self, result: CheckResult) -> None:
        """CommandExit if there is damage."""
        self._tell_hints(result)
        for advice in _advice(result):
            self._error(advice)
        summary = _summary(result, _count_errors(result))
        self._session.figures["num_errors"] = summary["num_errors"]
        if self._session.json:
            self._session.print_json(summary)
        if result.errors:
            raise CommandExit(EXIT_FAILED, "Fatal: repository contains errors")
        self._session.reporter.note("no errors were found")

    def _tell_hints(self, result: CheckResult) -> None:
        if result.has(FindingKind.DUPLICATE_PACK):
            self._hint("Duplicate packs are non-critical, you can run `restic repair index' to correct this.")
        if result.has(FindingKind.MIXED_PACK):
            self._hint(
                "Mixed packs with tree and data blobs are non-critical, you can run `restic prune` to correct this."
            )

    def _hint(self, text: str) -> None:
        if not self._session.json:
            self._session.print(text)

    def _error(self, text: str) -> None:
        if self._session.json:
            self._session.terminal.error(encode_json({"message_type": "error", "message": text}), logged=text)
        else:
            self._session.terminal.error(text)


def _lines(finding: Finding) -> list[str]:
    match finding.kind:
        case FindingKind.TREE:
            tree = finding.subject
            return [f"error for tree {tree[:SHORT_HEX]}:", *(f"  tree {tree}: {one}" for one in finding.details)]
        case FindingKind.SNAPSHOT:
            return [f"snapshot error {finding.subject}: {detail}" for detail in finding.details]
        case FindingKind.INDEX:
            return [f"error: {detail}" for detail in finding.details]
        case _:
            return list(finding.details)


def _advice(result: CheckResult) -> list[str]:
    """What to do about the damage."""
    advice = []
    if result.has(FindingKind.INDEX):
        advice.append(
            "\nThe repository index is damaged and must be repaired. "
            "You must run `restic repair index' to correct this.\n"
        )
    if result.has(FindingKind.PACK_MISSING):
        advice.append(
            "\nThe repository lacks pack files. What was only in them is lost; to go on without it run:\n\n"
            "restic repair index\nrestic repair snapshots --forget\n"
        )
    if packs := " ".join(result.broken_packs):
        advice.append(
            "\nThe repository contains damaged pack files. Keep a copy of the repository, then run:\n\n"
            f"restic repair packs {packs}\nrestic repair snapshots --forget\n"
        )
    if snapshots := "\n".join(f"snapshots/{name}" for name in result.broken_snapshots):
        # No command removes what it cannot read, nor does restic's: it may be sound on another machine.
        advice.append(
            "\nThe repository contains damaged snapshot files. Try again on another machine; if they are lost, remove "
            f"these files from the storage by hand, for no command does, and `prune` refuses to run:\n\n{snapshots}\n"
        )
    if result.errors and not advice:
        advice.append("\nThe repository is damaged and must be repaired.\n")
    return advice


def _count_errors(result: CheckResult) -> int:
    return sum(len(one.details) for one in result.errors if one.kind is not FindingKind.SNAPSHOT)


def _summary(result: CheckResult, error_count: int) -> dict[str, Any]:
    return {
        "message_type": "summary",
        "num_errors": max(error_count, 1) if result.errors else error_count,
        "broken_packs": result.broken_packs or None,
        "suggest_repair_index": result.has(FindingKind.DUPLICATE_PACK, FindingKind.INDEX),
        "suggest_prune": result.has(FindingKind.MIXED_PACK, FindingKind.PACK_UNREFERENCED),
    }

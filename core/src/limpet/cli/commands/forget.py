"""`limpet forget`: removes snapshots, by name or by policy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from limpet.cli.chosen_snapshots import ChosenSnapshots
from limpet.cli.exits import EXIT_FAILED, EXIT_INCOMPLETE, CommandExit
from limpet.cli.parameters import GROUP_BY
from limpet.cli.prune_flags import prune_flags, run_prune, take_prune_options
from limpet.cli.retention_flags import policy_of, policy_options
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_output import (
    group_heading,
    group_key_document,
    snapshot_document,
    snapshot_table,
    sorted_lists,
)
from limpet.errors import BackendError, UsageError
from limpet.ids import StorageId, short
from limpet.operations.prune import PruneOptions
from limpet.operations.retention import (
    GroupDecision,
    LastSnapshotError,
    Policy,
    decide_groups,
    protected_at,
    remove_snapshots,
)
from limpet.repository.snapshots import GroupBy, SnapshotFilter, StoredSnapshot

if TYPE_CHECKING:
    from limpet.repository.repository import Repository


@click.command("forget")
@policy_options
@click.option("--unsafe-allow-remove-all", is_flag=True, help="allow deleting all snapshots of a snapshot group")
@click.option("--hostname", multiple=True, hidden=True)
@snapshot_filter_options(host_shorthand=False)
@click.option("-c", "--compact", is_flag=True, help="use compact output format")
@click.option(
    "-g",
    "--group-by",
    type=GROUP_BY,
    default="host,paths",
    metavar="group",
    help="group snapshots by host, paths and/or tags, separated by comma (disable grouping with '')",
)
@click.option("-n", "--dry-run", is_flag=True, help="do not delete anything, just print what would be done")
@click.option("--prune", is_flag=True, help="automatically run the 'prune' command if snapshots have been removed")
@prune_flags
@click.argument("snapshot_ids", nargs=-1, metavar="[SNAPSHOTID]...")
@pass_session
def command(session: Session, /, *, snapshot_ids: Sequence[str], **flags: Any) -> None:
    """Remove snapshots: those named, or those that a policy does not keep.

    The policy of the --keep-* flags is applied to each group of snapshots by itself, see --group-by. Where a group has
    too few snapshots for a rule, its oldest one is kept, too. A protected snapshot is never removed.

    Only the snapshots are removed. The data that no other snapshot needs is removed by `limpet prune`, or at once with
    --prune.
    """
    policy = policy_of(flags)
    prune_options = take_prune_options(session, flags, dry_run=flags["dry_run"])
    if session.no_lock and not flags["dry_run"]:
        raise UsageError("--no-lock is only applicable in combination with --dry-run for forget command")
    if flags["hostname"]:
        session.reporter.warning("Flag --hostname has been deprecated, use --host")
    wanted = snapshot_filter([*flags["hostname"], *flags["host"]], flags["tag"], flags["path"])
    chosen = ChosenSnapshots(session)
    with session.locked_repository(exclusive=True, no_lock=session.no_lock) as repository:
        found = chosen.choose(repository, snapshot_ids, wanted)
        run = _Run(session, repository, flags)
        gone = run.remove_named(found) if snapshot_ids else run.apply(found, policy, wanted)
        if gone and flags["prune"]:
            _prune(session, repository, prune_options, gone)
    chosen.finish()


def _prune(session: Session, repository: Repository, options: PruneOptions, gone: Sequence[StorageId]) -> None:
    if options.dry_run:
        session.reporter.note(f"{len(gone)} snapshots would be removed, running prune dry run")
    else:
        session.reporter.note(f"{len(gone)} snapshots have been removed, running prune")
    ignored = gone if options.dry_run else ()
    if session.json:
        # As restic 0.19: the output is one document, that of the groups, and programs read it as such.
        from limpet.operations.prune.run import prune  # noqa: PLC0415  # most runs do without

        prune(repository, options, session.reporter, ignored_snapshots=ignored)
    else:
        run_prune(session, repository, options, ignored)


class _Run:
    """One run of the command."""

    def __init__(self, session: Session, repository: Repository, flags: Mapping[str, Any]) -> None:
        self._session = session
        self._repository = repository
        self._now_ns = time.time_ns()
        self._group_by: GroupBy = flags["group_by"]
        self._compact: bool = flags["compact"]
        self._dry_run: bool = flags["dry_run"]
        self._allow_remove_all: bool = flags["unsafe_allow_remove_all"]

    def remove_named(self, found: Sequence[StoredSnapshot]) -> Sequence[StorageId]:
        """Remove these, but for the protected ones; which are gone, or would be."""
        protected = 0
        unprotected = []
        for stored in found:
            protection = protected_at(stored.snapshot, self._now_ns)
            if protection is None:
                unprotected.append(stored.id)
                continue
            protected += 1
            self._session.terminal.error(
                f"snapshot {short(stored.id)} is {protection} and stays; `limpet unprotect` ends that"
            )
        return self._remove(unprotected, failed=protected)

    def apply(self, found: Sequence[StoredSnapshot], policy: Policy, wanted: SnapshotFilter) -> Sequence[StorageId]:
        """Remove what the policy does not keep; which are gone, or would be."""
        if policy.is_empty and self._allow_remove_all and wanted.is_empty:
            raise UsageError("--unsafe-allow-remove-all is not allowed unless a snapshot filter option is specified")
        shown = [sorted_lists(stored, self._group_by) for stored in found]
        try:
            if not policy.is_empty or self._allow_remove_all:
                self._session.reporter.note(f"Applying Policy: {policy}")
            decisions = decide_groups(
                shown, policy, self._group_by, now_ns=self._now_ns, allow_remove_all=self._allow_remove_all
            )
        except LastSnapshotError as error:
            raise CommandExit(EXIT_FAILED, str(error)) from error  # restic says it without `Fatal:`
        if not (self._session.json or self._session.quiet):
            for decision in decisions:
                self._show(decision)
        return self._remove([stored.id for decision in decisions for stored in decision.remove], decisions)

    def _show(self, decision: GroupDecision) -> None:
        note = self._session.reporter.note
        if heading := group_heading(decision.group):
            note(heading, verbosity=2)
        if decision.keep:
            reasons = [kept.reasons for kept in decision.keep]
            note(f"keep {len(decision.keep)} snapshots:")
            note(
                snapshot_table([kept.stored for kept in decision.keep], compact=self._compact, reasons=reasons) + "\n\n"
            )
        if decision.remove:
            note(f"remove {len(decision.remove)} snapshots:")
            note(snapshot_table(decision.remove, compact=self._compact) + "\n\n")

    def _remove(
        self, snapshot_ids: Sequence[StorageId], decisions: Sequence[GroupDecision] = (), *, failed: int = 0
    ) -> Sequence[StorageId]:
        """Remove the snapshots, or tell which would be. CommandExit where one that was to go is still there."""
        if snapshot_ids and self._dry_run:
            names = " ".join(sorted(short(one) for one in snapshot_ids))
            self._session.reporter.note(f"Would have removed the following snapshots:\n{{{names}}}\n\n")
        elif snapshot_ids:
            result = remove_snapshots(self._repository, snapshot_ids, self._session.reporter, self._tell_removed)
            failed += len(result.failed)
            self._session.figures["snapshots_removed"] = len(result.removed)
        if self._session.json and decisions:
            self._session.print_json([_document(decision) for decision in decisions])
        if failed:
            raise CommandExit(EXIT_INCOMPLETE, "failed to remove one or more snapshots")
        return snapshot_ids

    def _tell_removed(self, snapshot_id: StorageId, error: BackendError | None) -> None:
        if error is None:
            self._session.reporter.note(f"removed snapshot/{snapshot_id.hex()}", verbosity=3)
        else:
            self._session.reporter.warning(
                f"unable to remove snapshot/{snapshot_id.hex()} from the repository: {error}"
            )


def _document(decision: GroupDecision) -> dict[str, Any]:
    key = group_key_document(decision.group)
    keep = [snapshot_document(kept.stored) for kept in decision.keep]
    return {
        "tags": key["tags"],
        "host": key["hostname"],
        "paths": key["paths"],
        "keep": keep or None,
        "remove": [snapshot_document(stored) for stored in decision.remove] or None,
        "reasons": [
            {"snapshot": document, "matches": list(kept.reasons)}
            for document, kept in zip(keep, decision.keep, strict=True)
        ]
        or None,
    }

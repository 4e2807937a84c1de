"""`limpet find`: files by name, and the uses of blobs, trees and packs, in many snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from limpet.cli.find_output import FindOutput, JsonOutput, TextOutput, pack_lines
from limpet.cli.lines import LineWriter
from limpet.cli.moments import parse_moment
from limpet.cli.selectors import pass_over_snapshot, snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.errors import LimpetError, UsageError
from limpet.ids import BlobId
from limpet.operations.find import FindQuery, ObjectIds, blobs_of_packs, find, find_objects, group_versions
from limpet.repository.snapshots import StoredSnapshot, select_snapshots

if TYPE_CHECKING:
    from limpet.repository.repository import Repository


@click.command("find")
@snapshot_filter_options()
@click.option("-O", "--oldest", default="", metavar="string", help="oldest modification date/time")
@click.option("-N", "--newest", default="", metavar="string", help="newest modification date/time")
@click.option(
    "-s",
    "--snapshot",
    "names",
    multiple=True,
    metavar="id",
    help="snapshot id to search in (can be given multiple times)",
)
@click.option("--blob", "is_blob", is_flag=True, help="pattern is a blob-ID")
@click.option("--tree", "is_tree", is_flag=True, help="pattern is a tree-ID")
@click.option("--pack", "is_pack", is_flag=True, help="pattern is a pack-ID")
@click.option("--show-pack-id", is_flag=True, help="display the pack-ID the blobs belong to (with --blob or --tree)")
@click.option("-i", "--ignore-case", is_flag=True, help="ignore case for pattern")
@click.option("-R", "--reverse", "is_reversed", is_flag=True, help="reverse sort order oldest to newest")
@click.option("-l", "--long", "is_long", is_flag=True, help="use a long listing format showing size and mode")
@click.option("--human-readable", is_flag=True, help="print sizes in human readable format")
@click.option(
    "--group",
    "is_grouped",
    is_flag=True,
    help="show each version of a file once, with all snapshots that hold it",
)
@click.argument("patterns", nargs=-1, metavar="PATTERN...")
@pass_session
def command(
    session: Session,
    *,
    patterns: Sequence[str],
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
    oldest: str,
    newest: str,
    names: Sequence[str],
    is_blob: bool,
    is_tree: bool,
    is_pack: bool,
    show_pack_id: bool,
    ignore_case: bool,
    is_reversed: bool,
    is_long: bool,
    human_readable: bool,
    is_grouped: bool,
) -> None:
    """Find a file, a directory or restic IDs.

    The youngest snapshot comes first, with --reverse the oldest. A pattern fits a name, or a path from the root
    on if it starts with a slash; everything in a folder that fits is shown, too. IDs are whole ones or their first 8
    digits. With --group each version of a file is shown once: equal are content, size, time, mode and owner.
    """
    if not patterns:
        raise UsageError("wrong number of arguments")
    oldest_ns = parse_moment(oldest) if oldest else None
    newest_ns = parse_moment(newest) if newest else None
    if oldest_ns is not None and newest_ns is not None and oldest_ns > newest_ns:
        raise UsageError("--oldest must specify a time before --newest")
    if is_blob + is_tree + is_pack > 1:
        raise UsageError("cannot have several ID types")
    if is_grouped and (is_blob or is_tree or is_pack):
        raise UsageError("--group is for files by name, not for --blob, --tree or --pack")
    query = FindQuery(patterns, ignore_case=ignore_case, oldest_ns=oldest_ns, newest_ns=newest_ns)
    lines = LineWriter(session.terminal)
    output: FindOutput = JsonOutput(session)
    if not session.json:
        output = TextOutput(session, lines, is_long=is_long, human_readable=human_readable)
    with session.locked_repository() as repository, lines:
        selected = select_snapshots(
            repository, names, snapshot_filter(host, tag, path), pass_over_snapshot(session.terminal)
        )
        repository.load_index(session.reporter)
        if ignore_case:
            patterns = [pattern.lower() for pattern in patterns]
        ids = ObjectIds(dict.fromkeys(patterns if is_blob else ()), dict.fromkeys(patterns if is_tree else ()))
        if is_pack:
            ids = blobs_of_packs(repository, patterns)
        snapshots = sorted(selected, key=lambda stored: stored.time_ns, reverse=not is_reversed)
        search = _Search(repository, snapshots, output, lines)
        if ids:
            search.uses(ids)
        elif is_grouped:
            search.versions(query)
        else:
            search.names(query)
        lines.flush()
        output.close()
        if show_pack_id and ids:
            for line in pack_lines(repository, ids):
                lines.write(line.encode())


@dataclass(frozen=True, slots=True)
class _Search:
    """A search through the snapshots, with its output."""

    repository: Repository
    snapshots: Sequence[StoredSnapshot]
    output: FindOutput
    lines: LineWriter

    def uses(self, ids: ObjectIds) -> None:
        for found in find_objects(self.repository, self.snapshots, ids, self._tell):
            self.output.object(found)

    def versions(self, query: FindQuery) -> None:
        self.output.versions(group_versions(find(self.repository, self.snapshots, query, self._tell)))

    def names(self, query: FindQuery) -> None:
        for match in find(self.repository, self.snapshots, query, self._tell):
            self.output.match(match)

    def _tell(self, stored: StoredSnapshot, tree_id: BlobId, _error: LimpetError) -> None:
        self.lines.write(f"Unable to load tree {tree_id.hex()}".encode())
        self.lines.write(f" ... which belongs to snapshot {stored.id.hex()}".encode())

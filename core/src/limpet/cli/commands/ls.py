"""`limpet ls`: the files of a snapshot."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from limpet.cli.lines import LineWriter
from limpet.cli.listing import SORT_KEYS, JsonListing, Listing, NcduListing, SortedListing, TextListing
from limpet.cli.selectors import snapshot_filter, snapshot_filter_options
from limpet.cli.session import Session, pass_session
from limpet.errors import UsageError
from limpet.ids import BlobId
from limpet.operations.walk import walk_fields
from limpet.repository.snapshots import StoredSnapshot, find_snapshot, tree_of

if TYPE_CHECKING:
    from limpet.repository.repository import Repository


@click.command("ls")
@snapshot_filter_options(single=True)
@click.option("-l", "--long", "is_long", is_flag=True, help="use a long listing format showing size and mode")
@click.option("--recursive", is_flag=True, help="include files in subfolders of the listed directories")
@click.option("--human-readable", is_flag=True, help="print sizes in human readable format")
@click.option("--ncdu", is_flag=True, help="output NCDU export format (pipe into 'ncdu -f -')")
@click.option(
    "-s",
    "--sort",
    type=click.Choice(list(SORT_KEYS)),
    default="name",
    metavar="mode",
    help="sort output by (name|size|time=mtime|atime|ctime|extension)",
)
@click.option("--reverse", "is_reversed", is_flag=True, help="reverse sorted output")
@click.argument("arguments", nargs=-1, metavar="SNAPSHOTID [DIR]...")
@pass_session
def command(
    session: Session,
    *,
    arguments: Sequence[str],
    host: Sequence[str],
    tag: Sequence[Sequence[str]],
    path: Sequence[str],
    is_long: bool,
    recursive: bool,
    human_readable: bool,
    ncdu: bool,
    sort: str,
    is_reversed: bool,
) -> None:
    """List files in a snapshot.

    Folders after the snapshot ID are absolute paths inside the snapshot: only what is in them is listed,
    with --recursive also what is in their subfolders.
    """
    if not arguments:
        raise UsageError("no snapshot ID specified, specify snapshot ID or use special ID 'latest'")
    _refuse_contradictions(session, ncdu=ncdu, sort=sort, is_reversed=is_reversed)
    folders = arguments[1:]
    if not all(folder.startswith("/") for folder in folders):
        raise UsageError("All path filters must be absolute, starting with a forward slash '/'")
    lines = LineWriter(session.terminal)
    listing: Listing
    if session.json:
        listing = JsonListing(session, lines)
    elif ncdu:
        listing = NcduListing(lines)
    else:
        listing = TextListing(session, lines, folders, is_long=is_long, human_readable=human_readable)
    if SORT_KEYS[sort] or is_reversed:
        listing = SortedListing(listing, SORT_KEYS[sort], is_reversed=is_reversed)
    with session.locked_repository() as repository, lines:
        stored, subfolder = find_snapshot(repository, arguments[0], snapshot_filter(host, tag, path))
        repository.load_index(session.reporter)
        tree_id = tree_of(repository, stored, subfolder)
        # As restic: the snapshot shown is the one whose root is listed.
        listing.snapshot(StoredSnapshot(stored.id, replace(stored.snapshot, tree=tree_id)))
        if folders:
            _list_folders(repository, tree_id, listing, FolderSelection(folders, recursive=recursive))
        else:
            for node_path, fields in walk_fields(repository, tree_id):
                listing.entry(node_path, fields)
        listing.close()


def _list_folders(repository: Repository, tree_id: BlobId, listing: Listing, selection: FolderSelection) -> None:
    for path, fields in walk_fields(repository, tree_id, descend=lambda path, _fields: selection.descends(path)):
        if selection.lists(path):
            listing.entry(path, fields)
        elif selection.leads_on(path):
            listing.leading_folder(path, fields)


class FolderSelection:
    """Which entries a listing of some folders shows, and which folders it walks into."""

    def __init__(self, folders: Sequence[str], *, recursive: bool) -> None:
        self._folders = [_parts(folder.encode("utf-8", "surrogateescape")) for folder in folders]
        self._recursive = recursive

    def lists(self, path: bytes) -> bool:
        """Whether the entry is one of the folders or in one of them."""
        parts = _parts(path)
        return any(parts[: len(folder)] == folder for folder in self._folders)

    def leads_on(self, path: bytes) -> bool:
        """Whether one of the folders is the entry or below it."""
        parts = _parts(path)
        return any(folder[: len(parts)] == parts for folder in self._folders)

    def descends(self, path: bytes) -> bool:
        """Whether what is in the folder has to be looked at."""
        return (self._recursive and self.lists(path)) or self.leads_on(path)


def _parts(path: bytes) -> list[bytes]:
    return [part for part in posixpath.normpath(path).split(b"/") if part]


def _refuse_contradictions(session: Session, *, ncdu: bool, sort: str, is_reversed: bool) -> None:
    if ncdu and session.json:
        raise UsageError("only either '--json' or '--ncdu' can be specified")
    if ncdu and sort != "name":
        raise UsageError("--sort and --ncdu are mutually exclusive")
    if ncdu and is_reversed:
        raise UsageError("--reverse and --ncdu are mutually exclusive")

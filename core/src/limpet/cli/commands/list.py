"""`limpet list`: the ids of what is stored in the repository."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from limpet.cli.session import Session, pass_session
from limpet.contracts.backend import FileKind
from limpet.errors import LimpetError, UsageError
from limpet.operations.used_blobs import find_used_blobs
from limpet.repository.snapshots import find_snapshot, tree_of

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

FILE_KINDS = {
    "packs": FileKind.PACK,
    "index": FileKind.INDEX,
    "snapshots": FileKind.SNAPSHOT,
    "keys": FileKind.KEY,
    "locks": FileKind.LOCK,
}


@click.command("list")
@click.argument("arguments", nargs=-1, metavar="[blobs|packs|index|snapshots|keys|locks|packs SNAPSHOTID]")
@pass_session
def command(session: Session, *, arguments: Sequence[str]) -> None:
    """List objects in the repository by type.

    `packs SNAPSHOTID` lists the pack files that hold the snapshot's blobs.
    """
    kind, names = (arguments[0], arguments[1:]) if arguments else ("", ())
    if not kind or len(names) > (1 if kind == "packs" else 0):
        raise UsageError(
            "too many parameters or type not specified. "
            "Must be one of [blobs|packs|index|snapshots|keys|locks] or 'packs snapshotID'"
        )
    with session.locked_repository(no_lock=kind == "locks") as repository:
        if names:
            _list_packs_of(session, repository, names[0])
        elif kind == "blobs":
            repository.load_index(session.reporter)
            for blob_kind, blob_id in repository.index.iterate():
                session.print(f"{blob_kind.word} {blob_id.hex()}")
        elif kind in FILE_KINDS:
            for info in repository.list_files(FILE_KINDS[kind]):
                session.print(info.name)
        else:
            raise UsageError("invalid type")


def _list_packs_of(session: Session, repository: Repository, name: str) -> None:
    try:
        stored, _ = find_snapshot(repository, name)
    except LimpetError as error:
        raise error.saying(f"failed to find snapshot: {error}") from error
    repository.load_index(session.reporter)
    used = find_used_blobs(repository, [tree_of(repository, stored)])
    for pack_id in sorted(used.packs()):
        session.print(pack_id.hex())

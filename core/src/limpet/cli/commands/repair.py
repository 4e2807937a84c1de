"""`limpet repair`: mend a damaged repository."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from limpet.cli.commands.repair_snapshots import repair_snapshots
from limpet.cli.group import LimpetGroup
from limpet.cli.session import Session, pass_session
from limpet.errors import UsageError
from limpet.ids import StorageId, is_hex_id
from limpet.operations.repair.index import repair_index
from limpet.operations.repair.packs import repair_packs, write_copy


@click.group("repair", cls=LimpetGroup, no_args_is_help=True)
def command() -> None:
    """Repair the repository."""


command.add_command(repair_snapshots)


@command.command("index")
@click.option("--read-all-packs", is_flag=True, help="read all pack files to generate new index from scratch")
@pass_session
def index(session: Session, *, read_all_packs: bool) -> None:
    """Build a new index, based on the pack files in the repository."""
    session.speak_text()
    with session.locked_repository(exclusive=True) as repository:
        repair_index(repository, read_all_packs=read_all_packs, reporter=session.reporter)
    session.reporter.note("done")


@command.command("packs")
@click.argument("pack_ids", nargs=-1, metavar="[packIDs...]")
@pass_session
def packs(session: Session, *, pack_ids: Sequence[str]) -> None:
    """Salvage damaged pack files.

    Extracts intact blobs from the specified pack files, rebuilds the index to remove the damaged pack files and removes
    the pack files from the repository. Copies of them are kept in the current folder.
    """
    chosen = [_parse_id(text) for text in pack_ids]
    if not chosen:
        raise UsageError("no ids specified")
    session.speak_text()
    with session.locked_repository(exclusive=True) as repository:
        repair_packs(repository, chosen, partial(write_copy, Path()), session.reporter)
    session.terminal.error(
        "\nUse `restic repair snapshots --forget` to remove the corrupted data blobs from all snapshots"
    )


def _parse_id(text: str) -> StorageId:
    if len(text) != 64:
        raise UsageError(f'invalid length for ID: "{text}"')
    if not is_hex_id(text):
        raise UsageError(f'invalid ID: "{text}" is not 64 hexadecimal digits')
    return StorageId(bytes.fromhex(text))

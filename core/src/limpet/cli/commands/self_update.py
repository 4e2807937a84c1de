"""`limpet self-update`: says how this installation is updated; it never touches anything itself."""

from __future__ import annotations

import click

import limpet
from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.installation import update_command
from limpet.cli.session import Session, pass_session


@click.command("self-update")
@click.option("--output", metavar="filename", help="accepted for restic's sake: there is no single file to download")
@pass_session
def command(session: Session, *, output: str | None) -> None:
    """Say how to update Limpet.

    Limpet is a Python package, and what installed it updates it. Nothing is changed here, so the exit code is 1: a
    script that relies on being up to date must not go on as if it were.
    """
    raise CommandExit(
        EXIT_FAILED,
        f"limpet {limpet.__version__} does not update itself: it is a Python package. To update it run\n\n"
        f"    {update_command()}\n",
    )

"""`limpet repair`: mend a damaged repository."""

from __future__ import annotations

import click

from limpet.cli.commands.repair_snapshots import repair_snapshots
from limpet.cli.group import LimpetGroup


@click.group("repair", cls=LimpetGroup, no_args_is_help=True)
def command() -> None:
    """Repair the repository."""


command.add_command(repair_snapshots)

"""Fail if the newest snapshot is too old: `limpet age --max 26h`, for a monitor that runs commands."""

from __future__ import annotations

import time

import click
from limpet.cli.parameters import DURATION
from limpet.cli.session import Session, pass_session
from limpet.contracts.command import Command
from limpet.errors import LimpetError
from limpet.repository.snapshots import load_snapshots


@click.command("age")
@click.option("--max", "max_age_s", type=DURATION, metavar="duration", help="fail if it is older, takes 90m or 26h")
@pass_session
def age(session: Session, max_age_s: float | None) -> None:
    """Show how old the newest snapshot is."""
    with session.locked_repository() as repository:
        times_ns = [stored.time_ns for stored in load_snapshots(repository)]
    if not times_ns:
        raise LimpetError("there is no snapshot")
    age_s = time.time() - max(times_ns) / 1e9
    if session.json:
        session.print_json({"age_seconds": age_s})
    else:
        session.print(f"{age_s / 3600:.1f} hours")
    if max_age_s is not None and age_s > max_age_s:
        raise LimpetError(f"the newest snapshot is {age_s / 3600:.1f} hours old, that is too old")


class AgeCommand(Command):
    """Shows how old the newest snapshot is, and fails if it is too old."""

    contract_version = 1

    @classmethod
    def click_command(cls) -> click.Command:
        return age

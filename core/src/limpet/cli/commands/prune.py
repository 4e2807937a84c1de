"""`limpet prune`: remove data that no snapshot needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from limpet.cli.prune_flags import prune_flags, run_prune, take_prune_options
from limpet.cli.session import Session, pass_session
from limpet.errors import UsageError


@click.command("prune")
@prune_flags
@click.option("-n", "--dry-run", is_flag=True, help="do not modify the repository, just print what would be done")
@click.option(
    "--unsafe-recover-no-free-space",
    metavar="string",
    default="",
    help="UNSAFE, READ THE DOCUMENTATION BEFORE USING! Try to recover a repository stuck with no free space. "
    "Do not use without trying out 'prune --max-repack-size 0' first.",
)
@pass_session
def command(session: Session, /, *, dry_run: bool, unsafe_recover_no_free_space: str, **flags: Any) -> None:
    """Remove unneeded data from the repository.

    Checks the repository, and removes data that no snapshot refers to.
    """
    options = take_prune_options(session, flags, dry_run=dry_run)
    if session.no_lock and not dry_run:
        raise UsageError("--no-lock is only applicable in combination with --dry-run for prune command")
    with session.locked_repository(exclusive=True, no_lock=session.no_lock) as repository:
        if unsafe_recover_no_free_space:
            if unsafe_recover_no_free_space != repository.config.id:
                raise UsageError(f"must pass id '{repository.config.id}' to --unsafe-recover-no-free-space")
            options = replace(options, unsafe_recovery=True)
        run_prune(session, repository, options)

"""`limpet unlock`: removes the locks that other processes left behind."""

from __future__ import annotations

import click

from limpet.cli.session import Session, pass_session
from limpet.repository.locks import remove_all_locks, remove_stale_locks


@click.command("unlock")
@click.option("--remove-all", is_flag=True, help="remove all locks, even non-stale ones")
@pass_session
def command(session: Session, *, remove_all: bool) -> None:
    """Remove locks other processes created.

    Only stale ones: older than half an hour, or of a process of this host that is gone.
    """
    repository = session.repository()
    removed = remove_all_locks(repository) if remove_all else remove_stale_locks(repository)
    if removed:
        session.say(f"successfully removed {removed} locks")

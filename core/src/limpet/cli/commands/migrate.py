"""`limpet migrate`: changes of a repository's format."""

from __future__ import annotations

from collections.abc import Sequence

import click

from limpet.cli.commands.check import CheckOutput
from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.session import Session, pass_session
from limpet.errors import LimpetError
from limpet.operations.check import CheckOptions, check
from limpet.operations.migrate import MIGRATIONS, Migration, find_migration
from limpet.repository.repository import Repository


@click.command("migrate")
@click.option("-f", "--force", is_flag=True, help="apply a migration a second time")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@pass_session
def command(session: Session, /, *, names: Sequence[str], force: bool) -> None:
    """List the migrations that can be applied to the repository, or apply those that are named."""
    session.speak_text()
    with session.locked_repository(exclusive=True, use_cache=not names) as repository:
        if names:
            _apply(session, repository, names, force=force)
        else:
            _list(session, repository)


def _list(session: Session, repository: Repository) -> None:
    session.reporter.note("available migrations:")
    fitting = [migration for migration in MIGRATIONS if migration.reason_against(repository) is None]
    for migration in fitting:
        session.reporter.note(f"  {migration.name}\t{migration.description}")
    if not fitting:
        session.reporter.note("no migrations found")


def _apply(session: Session, repository: Repository, names: Sequence[str], *, force: bool) -> None:
    """Apply them in this order; CommandExit with the first error, after the others were tried."""
    first_error: LimpetError | None = None
    for name in names:
        migration = find_migration(name)
        if migration is None:
            session.terminal.error(f"unknown migration {name}")
        elif _may_be_applied(session, repository, migration, force=force):
            error = _apply_one(session, repository, migration)
            first_error = first_error or error
    if first_error is not None:
        raise CommandExit(EXIT_FAILED, str(first_error)) from first_error


def _may_be_applied(session: Session, repository: Repository, migration: Migration, *, force: bool) -> bool:
    reason = migration.reason_against(repository)
    if reason is not None and force:
        session.terminal.error(f"check for migration {migration.name} failed, continuing anyway")
    elif reason is not None:
        session.terminal.error(
            f"migration {migration.name} cannot be applied: {reason}\n"
            "If you want to apply this migration anyway, re-run with option --force"
        )
    return force or reason is None


def _apply_one(session: Session, repository: Repository, migration: Migration) -> LimpetError | None:
    """The error, if there was one. CommandExit if the repository is damaged: then nothing is migrated."""
    if migration.needs_sound_repository:
        session.reporter.note("checking repository integrity...")
        output = CheckOutput(session)
        output.finish(check(repository, CheckOptions(), session.reporter, output.tell))
    session.reporter.note(f"applying migration {migration.name}...")
    try:
        migration.apply(repository)
    except LimpetError as error:
        session.terminal.error(f"migration {migration.name} failed: {error}")
        return error
    session.reporter.note(f"migration {migration.name}: success")
    return None

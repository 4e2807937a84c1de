"""`limpet key`: the passwords of a repository."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from limpet.cli.group import LimpetGroup
from limpet.cli.password import ask_new_password, read_new_password_file
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table
from limpet.cli.times import format_local
from limpet.errors import LimpetError, RepositoryError, UsageError
from limpet.ids import StorageId, short
from limpet.repository.keys import create_key, find_key, key_ids, load_key, open_key, remove_key

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

Command = TypeVar("Command", bound=Callable[..., object])


@click.group("key", cls=LimpetGroup, no_args_is_help=True)
def command() -> None:
    """Manage keys (passwords): several may open one repository."""


def _new_key_options(decorated: Command) -> Command:
    for option in (
        click.option("--host", default="", help="the hostname for new key"),
        click.option("--user", default="", help="the username for new key"),
        click.option(
            "--new-insecure-no-password", is_flag=True, help="add an empty password for the repository (insecure)"
        ),
        click.option("--new-password-file", metavar="file", help="file from which to read the new password"),
    ):
        option(decorated)
    return decorated


@command.command("list")
@pass_session
def list_keys(session: Session) -> None:
    """List keys (passwords); the one in use is marked."""
    rows = []
    with session.locked_repository() as repository:
        for key_id in key_ids(repository.backend):
            try:
                keyfile = load_key(repository.backend, key_id)
            except LimpetError as error:
                session.terminal.error(f"LoadKey() failed: {error}")
                continue
            rows.append(
                {
                    "current": key_id == repository.key_id,
                    "id": key_id.hex(),
                    "userName": keyfile.username,
                    "hostName": keyfile.hostname,
                    "created": format_local(keyfile.created.ns),
                }
            )
    if session.json:
        session.print_json(rows)
        return
    cells = [
        [
            f"{'*' if row['current'] else ' '}{str(row['id'])[:8]}",
            *(str(row[name]) for name in ("userName", "hostName", "created")),
        ]
        for row in rows
    ]
    session.print(format_table([" ID", "User", "Host", "Created"], cells))


@command.command("add")
@_new_key_options
@pass_session
def add_key(
    session: Session, *, new_password_file: str | None, new_insecure_no_password: bool, user: str, host: str
) -> None:
    """Add a new key (password) to the repository; returns the new key ID."""
    with session.locked_repository(writes=True) as repository:
        password = _new_password(session, new_password_file, allow_empty=new_insecure_no_password)
        key_id = _create_verified_key(repository, password, username=user, hostname=host)
    session.say(f"saved new key with ID {key_id.hex()}")


@command.command("passwd")
@_new_key_options
@pass_session
def change_password(
    session: Session, *, new_password_file: str | None, new_insecure_no_password: bool, user: str, host: str
) -> None:
    """Change the password: creates a new key and removes the one in use; returns the new key ID."""
    with session.locked_repository(exclusive=True) as repository:
        password = _new_password(session, new_password_file, allow_empty=new_insecure_no_password)
        key_id = _create_verified_key(repository, password, username=user, hostname=host)
        remove_key(repository.backend, repository.key_id, current=key_id)
    session.say(f"saved new key as {key_id.hex()}")


@command.command("remove")
@click.argument("key_id", metavar="ID")
@pass_session
def remove(session: Session, *, key_id: str) -> None:
    """Remove a key (password) from the repository; the one in use stays."""
    with session.locked_repository(exclusive=True) as repository:
        found = find_key(repository.backend, key_id)
        remove_key(repository.backend, found, current=repository.key_id)
    session.say(f"removed key {found.hex()}")


def _new_password(session: Session, file: str | None, *, allow_empty: bool) -> str:
    if allow_empty:
        if file:
            raise UsageError("only either --new-password-file or --new-insecure-no-password may be specified")
        return ""
    if file:
        return read_new_password_file(file)
    return ask_new_password(session.terminal, "enter new password: ")


def _create_verified_key(repository: Repository, password: str, *, username: str, hostname: str) -> StorageId:
    """The id of a stored key that has been opened once: a broken one could lock everybody out."""
    key_id = create_key(repository.backend, password, repository.key, username=username, hostname=hostname)
    try:
        opened = open_key(repository.backend, password, hint=key_id.hex(), max_keys=1)
        if opened.key_id != key_id or opened.master_key != repository.key:
            raise RepositoryError(f"key {short(key_id)} holds another master key")
    except LimpetError as error:
        remove_key(repository.backend, key_id, current=repository.key_id)
        raise RepositoryError(f"failed to access repository with new key: {error}") from error
    return key_id

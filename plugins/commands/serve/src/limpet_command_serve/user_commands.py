"""`limpet serve user add|change|list|remove`: the users of a server, beside it or while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click
from limpet.cli.formatting import format_bytes
from limpet.cli.group import LimpetGroup
from limpet.cli.parameters import SIZE
from limpet.cli.password import ask_new_password
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table
from limpet.contracts.backend import FileKind
from limpet.contracts.password import service_password
from limpet.errors import UsageError

from limpet_command_serve.htpasswd import decode_htpasswd, hash_password, is_user_name, with_user
from limpet_command_serve.private_file import held_folder, read_private, replace_private
from limpet_command_serve.rights import FULL_RIGHTS, Access, Rights
from limpet_command_serve.rights_file import (
    decode_rights,
    encode_rights,
    missing_rights,
    promises_rights,
    rights_path,
    with_promise,
)

HTPASSWD_NAME = ".htpasswd"
_NO_FOLDERS = frozenset({".", "..", *(kind.value for kind in FileKind)})

Command = TypeVar("Command", bound=Callable[..., object])


@click.group("user", cls=LimpetGroup, no_args_is_help=True)
def user_group() -> None:
    """Manage the users of a server; it notices at once."""


def _place_options(decorated: Command) -> Command:
    for option in (
        click.option("--htpasswd-file", metavar="file", help="location of the .htpasswd file (default: in --path)"),
        click.option("--path", metavar="directory", help="data directory of the server"),
    ):
        option(decorated)
    return decorated


def _rights_options(decorated: Command) -> Command:
    for option in (
        click.option(
            "--retention-days",
            type=click.IntRange(min=0),
            metavar="n",
            help="nothing younger can be removed by the user",
        ),
        click.option("--quota", type=SIZE, metavar="size", help="most that may be stored in the user's folder"),
        click.option("--full", "access", flag_value=Access.FULL.value, help="the user may do everything"),
        click.option("--read-only", "access", flag_value=Access.READ_ONLY.value, help="the user may restore only"),
        click.option(
            "--write-only",
            "access",
            flag_value=Access.WRITE_ONLY.value,
            help="the user may back up and read nothing back",
        ),
        click.option(
            "--append-only", "access", flag_value=Access.APPEND_ONLY.value, help="the user may remove nothing but locks"
        ),
    ):
        option(decorated)
    return decorated


@user_group.command("add")
@click.argument("name", metavar="NAME")
@_place_options
@_rights_options
@click.option("--new-password-file", metavar="file", help="file that holds the user's password")
@click.option("--new-password-command", metavar="command", help="command that prints the user's password")
@click.option("--replace", "replaces", is_flag=True, help="give a user who exists a new password and these rights")
@pass_session
def add_user(
    session: Session,
    *,
    name: str,
    path: str | None,
    htpasswd_file: str | None,
    access: str | None,
    quota: int | None,
    retention_days: int | None,
    new_password_file: str | None,
    new_password_command: str | None,
    replaces: bool,
) -> None:
    """Add a user; the password comes from the terminal, standard input, a file or a command."""
    htpasswd = _htpasswd_path(path, htpasswd_file)
    if not is_user_name(name):
        raise UsageError(f"{name!r} is no name of a user: letters, digits, '@', '.', '_' and '-' are allowed")
    if name in _NO_FOLDERS:
        raise UsageError(f"{name!r} cannot be the name of a user: no folder of a repository can have it")
    if not replaces and name in _hashes(htpasswd):
        raise UsageError(_exists(name))
    password = service_password(
        "serve", {"password_file": new_password_file, "password_command": new_password_command}
    ) or ask_new_password(session.terminal, f"enter password of {name}: ")
    stored = hash_password(password.encode("utf-8", "surrogateescape"))
    rights = _rights(FULL_RIGHTS, access, quota, retention_days)
    with held_folder(htpasswd.parent):
        if not replaces and name in _hashes(htpasswd):
            raise UsageError(_exists(name))
        # Rights first: never is the user there with more than was meant.
        _save_rights(htpasswd, {**_known_rights(htpasswd), name: rights})
        replace_private(htpasswd, with_user(read_private(htpasswd) or b"", name, stored))
    session.say(f"added user {name}")


@user_group.command("change")
@click.argument("name", metavar="NAME")
@_place_options
@_rights_options
@click.option("--no-quota", is_flag=True, help="take the user's quota away")
@pass_session
def change_user(
    session: Session,
    *,
    name: str,
    path: str | None,
    htpasswd_file: str | None,
    access: str | None,
    quota: int | None,
    retention_days: int | None,
    no_quota: bool,
) -> None:
    """Change the rights of a user; what is not given stays. For users of a proxy, too."""
    htpasswd = _htpasswd_path(path, htpasswd_file)
    if quota is not None and no_quota:
        raise UsageError("only either --quota or --no-quota may be given")
    with held_folder(htpasswd.parent):
        known = _known_rights(htpasswd)
        rights = _rights(known.get(name, FULL_RIGHTS), access, quota, retention_days)
        if no_quota:
            rights = replace(rights, quota_bytes=None)
        _save_rights(htpasswd, {**known, name: rights})
    if name not in _hashes(htpasswd):
        session.terminal.error(f"{name} has no password in {htpasswd}: this counts where a proxy names such a user")
    session.say(f"changed the rights of user {name}")


@user_group.command("list")
@_place_options
@pass_session
def list_users(session: Session, *, path: str | None, htpasswd_file: str | None) -> None:
    """List the users and their rights."""
    htpasswd = _htpasswd_path(path, htpasswd_file)
    known, hashes = _known_rights(htpasswd), _hashes(htpasswd)
    users = [(name, known.get(name, FULL_RIGHTS)) for name in sorted({*hashes, *known})]
    if session.json:
        session.print_json(
            [
                {
                    "name": name,
                    "access": rights.access.value,
                    "quota_bytes": rights.quota_bytes,
                    "retention_days": rights.retention_days,
                    "has_password": name in hashes,
                }
                for name, rights in users
            ]
        )
        return
    cells = [
        [
            name,
            rights.access.value,
            "" if rights.quota_bytes is None else format_bytes(rights.quota_bytes),
            "" if rights.retention_days is None else f"{rights.retention_days} days",
            "" if name in hashes else "no password",
        ]
        for name, rights in users
    ]
    session.print(format_table(["User", "Access", "Quota", "Locked", ""], cells))


@user_group.command("remove")
@click.argument("name", metavar="NAME")
@_place_options
@pass_session
def remove_user(session: Session, *, name: str, path: str | None, htpasswd_file: str | None) -> None:
    """Remove a user; what is stored stays."""
    htpasswd = _htpasswd_path(path, htpasswd_file)
    with held_folder(htpasswd.parent):
        known = _known_rights(htpasswd)
        if name not in known and name not in _hashes(htpasswd):
            raise UsageError(f"there is no user {name} in {htpasswd}: see `limpet serve user list`")
        # The password first, for the same reason.
        if (data := read_private(htpasswd)) is not None:
            replace_private(htpasswd, with_user(data, name, None))
        _save_rights(htpasswd, {user: rights for user, rights in known.items() if user != name})
    session.say(f"removed user {name}")


def _htpasswd_path(path: str | None, htpasswd_file: str | None) -> Path:
    if htpasswd_file:
        return Path(htpasswd_file)
    if path:
        return Path(path, HTPASSWD_NAME)
    raise UsageError("say where the users are: --path DIRECTORY of the server, or --htpasswd-file FILE")


def _hashes(htpasswd: Path) -> Mapping[str, str]:
    return decode_htpasswd(read_private(htpasswd) or b"").hashes


def _known_rights(htpasswd: Path) -> dict[str, Rights]:
    path = rights_path(htpasswd)
    data = read_private(path)
    if data is None:
        if promises_rights(htpasswd):
            raise UsageError(missing_rights(htpasswd))
        return {}
    try:
        return decode_rights(data)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _save_rights(htpasswd: Path, rights: Mapping[str, Rights]) -> None:
    """Write the file where it changes; none where nobody has fewer than full rights and there was none.

    The `.htpasswd` says that it is there, for the server to miss it.
    """
    path, data = rights_path(htpasswd), encode_rights(rights)
    known = read_private(path)
    if known is None and all(of_user == FULL_RIGHTS for of_user in rights.values()):
        return
    if data != known:
        replace_private(path, data)
    users = read_private(htpasswd) or b""
    promising = with_promise(htpasswd, users)
    if promising != users:
        replace_private(htpasswd, promising)


def _rights(known: Rights, access: str | None, quota: int | None, retention_days: int | None) -> Rights:
    return Rights(
        known.access if access is None else Access(access),
        known.quota_bytes if quota is None else quota,
        known.retention_days if retention_days is None else (retention_days or None),
    )


def _exists(name: str) -> str:
    return f"there is a user {name} already: --replace gives a new password, `limpet serve user change` other rights"

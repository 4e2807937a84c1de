"""The rights of users, in a small JSON file beside the `.htpasswd`, which stays one that rest-server can read.

`{"version": 1, "users": {"web1": {"access": "write-only", "quota_bytes": 107374182400, "retention_days": 30}}}`

Without the file everybody has full rights, as with rest-server. So that nobody gets them because it was lost, `limpet
serve user` writes a line into the `.htpasswd`, a comment to others, that there is one: then the server wants it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from limpet.errors import UsageError

from limpet_command_serve.private_file import read_private
from limpet_command_serve.rights import FULL_RIGHTS, Access, Rights
from limpet_command_serve.users import Tell, WatchedFile

VERSION = 1
SUFFIX = ".rights.json"


def rights_path(htpasswd: Path) -> Path:
    """Where the rights of the users in this `.htpasswd` are."""
    return htpasswd.with_name(htpasswd.name + SUFFIX)


def promises_rights(htpasswd: Path) -> bool:
    """Whether the `.htpasswd` says that there are rights beside it. UsageError where it cannot be read."""
    return _mark(htpasswd) in (read_private(htpasswd) or b"").splitlines()


def missing_rights(htpasswd: Path) -> str:
    """What people are told where there are none."""
    return (
        f"{rights_path(htpasswd)} is missing, which {htpasswd} says holds the rights of users: bring it back, "
        f"or take the line '{_mark(htpasswd).decode()}' out there to give everybody full rights"
    )


def with_promise(htpasswd: Path, data: bytes) -> bytes:
    """The content of the `.htpasswd`, saying that there are rights beside it."""
    mark = _mark(htpasswd)
    return data if mark in data.splitlines() else mark + b"\n" + data


def decode_rights(data: bytes) -> dict[str, Rights]:
    """The rights by user; UsageError saying what is wrong. A mistake must not give anybody more than was meant."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise UsageError(f"it is no JSON: {error}") from error
    users = document.get("users") if isinstance(document, dict) else None
    if not isinstance(users, dict) or document.get("version") != VERSION:
        raise UsageError(f'it is no file of rights: it needs "version": {VERSION} and "users"')
    return {user: _decode_user(user, fields) for user, fields in users.items()}


def encode_rights(rights: Mapping[str, Rights]) -> bytes:
    """The file; users with full rights need no place in it."""
    users = {user: _encode_user(of_user) for user, of_user in sorted(rights.items()) if of_user != FULL_RIGHTS}
    return (json.dumps({"version": VERSION, "users": users}, indent=2, ensure_ascii=False) + "\n").encode()


class UserRights:
    """The rights of all users, read again when the file changes; full rights for those who are not in it.

    A file that vanishes or breaks while the server runs takes no limits away: what was in it still counts.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._rights: Mapping[str, Rights] = {}
        self._path = path
        self._file = WatchedFile(path, self._take, tell)
        if path.exists():
            self._file.read()

    def of(self, user: str) -> Rights:
        """The user's rights."""
        self._file.read_if_changed()
        return self._rights.get(user, FULL_RIGHTS)

    def all(self) -> Mapping[str, Rights]:
        """The rights of all who have fewer than full ones."""
        return self._rights

    def read_again(self) -> None:
        """Read the file now, if there is one: SIGHUP."""
        if self._path.exists() or self._rights:
            self._file.read_again()

    def _take(self, data: bytes) -> None:
        try:
            self._rights = decode_rights(data)
        except UsageError as error:
            raise UsageError(f"{self._path}: {error}") from error


def _mark(htpasswd: Path) -> bytes:
    return f"# rights: {rights_path(htpasswd).name}".encode()


def _decode_user(user: str, fields: object) -> Rights:
    known = {"access", "quota_bytes", "retention_days"}
    if not isinstance(fields, dict) or not fields.keys() <= known:
        raise UsageError(f"the rights of {user} may hold {', '.join(sorted(known))} and nothing else")
    try:
        access = Access(fields.get("access", Access.FULL.value))
    except ValueError as error:
        names = ", ".join(access.value for access in Access)
        raise UsageError(f"the access of {user} is none of {names}") from error
    return Rights(access, _count(user, fields, "quota_bytes"), _count(user, fields, "retention_days"))


def _count(user: str, fields: Mapping[str, object], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(f"{name} of {user} is no number from 0 on")
    return value


def _encode_user(rights: Rights) -> dict[str, object]:
    fields: dict[str, object] = {"access": rights.access.value}
    if rights.quota_bytes is not None:
        fields["quota_bytes"] = rights.quota_bytes
    if rights.retention_days is not None:
        fields["retention_days"] = rights.retention_days
    return fields

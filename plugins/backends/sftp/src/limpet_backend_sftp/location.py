"""`ServerPath`: where a repository is, out of restic's two forms `user@host:path` and `//user@host:port/path`."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from limpet.errors import UsageError

_FORMS = "give one as in sftp:user@host:/path or sftp://user@host:port//path"


@dataclass(frozen=True, slots=True)
class ServerPath:
    """A folder on a server; a path without a slash in front is relative to the folder one logs in to."""

    host: str
    path: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        if self.port is None and ":" not in self.host:
            return f"sftp:{user}{self.host}:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"sftp://{quote(user, safe='@')}{host}{port}/{quote(self.path)}"


def parse_location(text: str) -> ServerPath:
    """The place that `text` (what follows `sftp:`) names; UsageError where it names none."""
    decoded = unquote(text) if text.startswith("//") else text
    if any(character in decoded for character in "\0\n\r"):
        raise UsageError(f"not a place on a server: it holds a control character; {_FORMS}")
    found = _from_url(text) if text.startswith("//") else _from_pair(text)
    if not found.host or found.host.startswith("-") or (found.user or "").startswith("-"):
        # ssh would take a name with a dash in front for one of its options.
        raise UsageError(f"not a place on a server: {str(found)!r} names no host; {_FORMS}")
    if found.path.startswith("~"):
        raise UsageError(
            "sftp path starts with the tilde (~) character, that fails for most sftp servers;"
            " use a relative path, most servers take it from the user's home folder"
        )
    return found


def _from_url(text: str) -> ServerPath:
    try:
        parts = urlsplit("sftp:" + text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        # Its message would show a piece of the password, where one with a slash stands in the address.
        raise UsageError(f"not an address of a server: its host or port is not understood; {_FORMS}") from error
    if not parts.path:
        raise UsageError(f"the location on {host!r} names no folder; {_FORMS}")
    # A password in it is never used, as with restic: ssh asks for one, or better an agent holds a key.
    user = unquote(parts.username) if parts.username else None
    return ServerPath(host or "", _clean(unquote(parts.path)[1:]), user, port)


def _from_pair(text: str) -> ServerPath:
    before, colon, path = text.partition(":")
    if not colon:
        raise UsageError(f"not a place on a server: {text!r}; {_FORMS}")
    user, _, host = before.rpartition("@")
    return ServerPath(host, _clean(path), user or None)


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned

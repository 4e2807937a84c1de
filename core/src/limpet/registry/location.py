"""Where a repository is and what is backed up: restic's location grammar, and the same for sources."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limpet.errors import UsageError

PATH = "path"
"""The scheme of what has none: a plain path."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_PLAIN_PATH = re.compile(r"\.{0,2}[/\\]|[A-Za-z]:[/\\]")
_SECRET_PARAMETER = re.compile(r"(?i)([?&;][^=&;#]*(?:passw|secret|token|key|sig)[^=&;#]*=)[^&;#]*")
_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Location:
    """A scheme and what follows `scheme:`. Its text may hold secrets, so its `repr` hides them."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return redact(self.rest if self.scheme == PATH else f"{self.scheme}:{self.rest}")

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"


def is_plain_path(text: str) -> bool:
    """Whether the text is a path by its looks, whatever plugins there are: `/x`, `./x`, `../x`, `c:\\x`."""
    return _PLAIN_PATH.match(text) is not None


def split_location(text: str, is_backend: Callable[[str], bool]) -> Location:
    """The location of a repository: `scheme:rest` where `is_backend(scheme)`, else a plain path.

    UsageError for an empty text and for one with a colon that is neither, as restic does.
    """
    if not text:
        raise UsageError("the repository's location is empty; give it with -r or LIMPET_REPOSITORY")
    scheme, colon, rest = text.partition(":")
    if is_plain_path(text) or not colon:
        return Location(PATH, text)
    if is_backend(scheme):
        return Location(scheme, rest)
    if _SCHEME.fullmatch(scheme):
        way_out = f"install one with `pip install limpet-backend-{scheme.lower()}`"
    else:
        way_out = "a location is SCHEME:PLACE or a path"
    raise UsageError(
        f"no backend is called {redact(scheme)!r}, so {redact(text)!r} is not understood; {way_out},"
        f" or write {PATH + ':' + redact(text)!r} if it is a folder"
    )


def split_argument(text: str, is_source: Callable[[str], bool]) -> Location:
    """What one argument of a backup names: `scheme:rest` only where `is_source(scheme)`, else a plain path."""
    scheme, colon, rest = text.partition(":")
    if not colon or is_plain_path(text) or not _SCHEME.fullmatch(scheme) or not is_source(scheme):
        return Location(PATH, text)
    return Location(scheme, rest)


def redact(location: str) -> str:
    """The location without passwords, tokens and keys, as it may be shown."""
    head, slashes, tail = location.partition("//")
    if slashes:
        location = head + slashes + _without_password(tail)
    return _SECRET_PARAMETER.sub(rf"\1{_HIDDEN}", location)


def redact_arguments(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments as they may be shown: locations redacted, values of plugins' options hidden."""
    shown: list[str] = []
    is_option_value = False
    for argument in arguments:
        if is_option_value or argument.startswith(("-o", "--option=")):
            key, equals, _ = argument.removeprefix("--option=").partition("=")
            prefix = "--option=" if argument.startswith("--option=") else ""
            shown.append(f"{prefix}{key}{equals}{_HIDDEN if equals else ''}")
        else:
            shown.append(redact(argument))
        is_option_value = argument in {"-o", "--option"}
    return shown


def _without_password(tail: str) -> str:
    authority_end = tail.find("/") if "/" in tail else len(tail)
    at = tail.rfind("@", 0, authority_end)
    _, _, port = tail[:authority_end].partition(":")
    if at < 0 and port and not port.isdigit() and not tail.startswith("["):
        at = tail.rfind("@")  # That is no port but a password with a slash in it, not quoted as it should be.
    if at < 0:
        return tail
    user, colon, _ = tail[:at].partition(":")
    return f"{user}:{_HIDDEN}{tail[at:]}" if colon else tail

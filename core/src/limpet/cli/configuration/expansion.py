"""`${NAME}` and `${NAME:-default}` in values of the configuration, and `~` at their beginning."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from limpet import registry
from limpet.cli.configuration.document import Place
from limpet.contracts.secret import looks_secret

_USE = re.compile(r"(\$?)\$\{([^{}]*)(\}?)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Text:
    """A value with its variables filled in, and as it may be shown: secrets by the name of their variable."""

    value: str
    shown: str
    has_secret: bool = False

    @classmethod
    def plain(cls, value: str) -> Text:
        """A value that is its own display, but for passwords inside of locations."""
        return cls(value, registry.redact(value))

    def __repr__(self) -> str:
        return f"Text({self.shown!r})"

    def __bool__(self) -> bool:
        return bool(self.value)


def expand(text: str, place: Place, environ: Mapping[str, str] | None = None) -> Text:
    """The text with its variables; ConfigurationError at `place` for one that is not set or is written badly.

    As in a shell the default also stands in for an empty variable. `$${` is a `${` that means itself.
    """
    environ = os.environ if environ is None else environ
    has_secret = False

    def fill(match: re.Match[str], *, shows: bool) -> str:
        nonlocal has_secret
        if match[1]:
            return match[0][1:]
        inside = _INSIDE.fullmatch(match[2])
        if inside is None or not match[3]:
            raise place.mistake(f"{match[0]!r} is not of the form ${{NAME}} or ${{NAME:-default}}")
        name, default = inside[1], inside[2]
        if looks_secret(name):
            has_secret = True
            if shows:
                return f"${{{name}}}"
        value = environ.get(name)
        if value is None and default is None:
            raise place.mistake(f"the environment has no variable {name}; set it, or write ${{{name}:-default}}")
        return value or default or ""

    value = _USE.sub(lambda match: fill(match, shows=False), text)
    shown = _USE.sub(lambda match: fill(match, shows=True), text)
    return Text(_at_home(value), registry.redact(_at_home(shown)), has_secret)


def only_variable(text: str) -> str | None:
    """`NAME` where the text is `${NAME}` and nothing else."""
    match = _USE.fullmatch(text)
    inside = _INSIDE.fullmatch(match[2]) if match and not match[1] and match[3] else None
    return inside[1] if inside and inside[2] is None else None


def _at_home(value: str) -> str:
    return os.path.expanduser(value) if value == "~" or value.startswith("~/") else value


def holds_literal_secret(text: str) -> bool:
    """Whether a location has a password or key in it that is written out, not taken from a variable."""
    without_variables = _USE.sub(HIDDEN, text)
    return registry.redact(without_variables) != without_variables

"""Environment variables of the command line: `LIMPET_X` first, restic's `RESTIC_X` as the fallback."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from limpet.errors import UsageError

T = TypeVar("T")

PREFIXES = ("LIMPET_", "RESTIC_")
_TRUE_WORDS = frozenset({"1", "t", "true", "y", "yes", "on"})
_FALSE_WORDS = frozenset({"0", "f", "false", "n", "no", "off"})


def environment(name: str) -> str | None:
    """The value of `LIMPET_<name>`, else of `RESTIC_<name>`; None where neither is set or both are empty."""
    variable = variable_in_use(name)
    return None if variable is None else os.environ[variable]


def environment_value(name: str, parse: Callable[[str], T]) -> T | None:
    """What `parse` makes of the variable's text, None where it is not set.

    UsageError naming the variable where `parse` raises ValueError: nonsense is told, never passed over.
    """
    text = environment(name)
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f'invalid value for {variable_in_use(name)} "{text}": {error}') from error


def variable_in_use(name: str) -> str | None:
    """Which of the two variables `environment` takes the value from; None where it finds none."""
    return next((prefix + name for prefix in PREFIXES if os.environ.get(prefix + name)), None)


def parse_switch(text: str) -> bool:
    """Whether the text switches something on; ValueError where it is neither a yes nor a no."""
    word = text.strip().lower()
    if word not in _TRUE_WORDS | _FALSE_WORDS:
        raise ValueError("neither true nor false")
    return word in _TRUE_WORDS


def parse_natural(text: str) -> int:
    """The number; ValueError for what is none from 0 on."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError("not a number from 0 on")
    return int(text)

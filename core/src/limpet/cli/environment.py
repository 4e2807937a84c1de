"""Environment variables of the command line: `LIMPET_X` first, restic's `RESTIC_X` as the fallback."""

from __future__ import annotations

import os

PREFIXES = ("LIMPET_", "RESTIC_")


def environment(name: str) -> str | None:
    """The value of `LIMPET_<name>`, else of `RESTIC_<name>`; None where neither is set or both are empty."""
    variable = variable_in_use(name)
    return None if variable is None else os.environ[variable]


def variable_in_use(name: str) -> str | None:
    """Which of the two variables `environment` takes the value from; None where it finds none."""
    return next((prefix + name for prefix in PREFIXES if os.environ.get(prefix + name)), None)


def is_true(text: str | None) -> bool:
    """Whether an environment variable's text switches something on: 1, t, true, y, yes, on."""
    return text is not None and text.strip().lower() in {"1", "t", "true", "y", "yes", "on"}

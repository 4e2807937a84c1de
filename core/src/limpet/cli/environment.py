"""Environment variables of the command line: `LIMPET_X` first, restic's `RESTIC_X` as the fallback."""

from __future__ import annotations

import os

PREFIXES = ("LIMPET_", "RESTIC_")


def environment(name: str) -> str | None:
    """The value of `LIMPET_<name>`, else of `RESTIC_<name>`; None where neither is set or both are empty."""
    for prefix in PREFIXES:
        value = os.environ.get(prefix + name)
        if value:
            return value
    return None


def is_true(text: str | None) -> bool:
    """Whether an environment variable's text switches something on: 1, t, true, y, yes, on."""
    return text is not None and text.strip().lower() in {"1", "t", "true", "y", "yes", "on"}

"""The plain-Python twin of the extension's reader of times: it knows none, and so each is read with all care."""

from __future__ import annotations


def parse_plain_ns(_text: str, /) -> int | None:
    """None: `limpet.format.timestamps` reads it."""
    return None

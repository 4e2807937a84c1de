"""The twin of `_native.open_cached`: Python has no openat2(2), so everything has to be waited for."""

from __future__ import annotations


def open_cached(_root: str, _device: int, _path: str, /) -> tuple[int, int] | None:
    """Never a file."""
    return None

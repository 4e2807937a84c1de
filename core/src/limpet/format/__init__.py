"""Bytes to values and back: no I/O, no clock, no threads."""

from __future__ import annotations

from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Anything with contiguous bytes (collections.abc.Buffer needs Python 3.12)."""

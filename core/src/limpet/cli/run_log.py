"""What was told in a run, for hooks that report how it ended: its last lines, and how many warnings there were."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from threading import Lock

LIMIT_CHARACTERS = 200_000
"""Monitoring services take 100 kB at most; a run that tells of a million files must not keep them all."""

_PASSWORD = re.compile(r"(://[^\s/:@]*):\S+@")
_SECRET_PARAMETER = re.compile(r"(?i)([?&;][^=&;#\s]*(?:passw|secret|token|key|sig)[^=&;#\s]*=)[^&;#\s]+")


class RunLog:
    """Keeps the last lines up to a limit. Thread-safe."""

    def __init__(self, limit_characters: int = LIMIT_CHARACTERS) -> None:
        self.warnings = 0
        """How many of the lines told of something that went wrong, those no longer kept included."""
        self._limit = limit_characters
        self._lines: deque[str] = deque()
        self._characters = 0
        self._lock = Lock()

    def add(self, text: str, *, is_warning: bool = False) -> None:
        """Note one line, or several that belong together."""
        with self._lock:
            self.warnings += is_warning
            for line in text.splitlines():
                kept = line[: self._limit]
                self._lines.append(kept)
                self._characters += len(kept)
            while self._characters > self._limit:
                self._characters -= len(self._lines.popleft())

    @property
    def lines(self) -> Sequence[str]:
        """The last lines, oldest first."""
        with self._lock:
            return tuple(self._lines)


def without_secrets(line: str) -> str:
    """The line as it may leave the machine: tools that we call put addresses with passwords into their messages."""
    return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", line))

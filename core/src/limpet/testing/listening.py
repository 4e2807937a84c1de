"""`Listening`: a reporter that keeps what a person would have been told."""

from __future__ import annotations

from limpet.progress import SilentReporter


class Listening(SilentReporter):
    """Silent, and with a memory."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.texts: list[str] = []
        """Warnings and notes in their order."""

    def warning(self, text: str) -> None:
        """Keep it."""
        self.warnings.append(text)
        self.texts.append(text)

    def note(self, text: str, *, verbosity: int = 1) -> None:
        """Keep it, too."""
        self.texts.append(text)

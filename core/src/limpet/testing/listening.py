"""`Listening`: a reporter that keeps what a person would have been warned of."""

from __future__ import annotations

from limpet.progress import SilentReporter


class Listening(SilentReporter):
    """Silent, and with a memory."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        """Keep it."""
        self.warnings.append(text)

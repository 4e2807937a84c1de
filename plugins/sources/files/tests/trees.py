"""Trees of files to walk, and what the source delivers of them."""

from __future__ import annotations

import os
from pathlib import Path

from limpet.contracts.source import Selection, SourceRequest
from limpet.progress import SilentReporter
from limpet.testing.source import all_folders
from limpet_source_files import FilesSource


class Listener(SilentReporter):
    """Keeps what a source tells."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def error(self, error: Exception, *, during: str, item: str) -> None:
        assert during == "archival"
        self.errors.append((item, str(error)))

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def make(root: Path, *names: str) -> None:
    """Files of one byte, and folders for names that end in a slash."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(b"x")


def delivered(*targets: str | Path, selection: Selection | None = None, listener: Listener | None = None) -> set[str]:
    """Snapshot paths of all targets and entries."""
    request = SourceRequest([str(target) for target in targets], selection=selection or Selection(), reporter=listener)
    source = FilesSource.open(request)
    try:
        found = {os.fsdecode(target.path) for target in source.targets()} - {"/"}
        for folder in all_folders(source):
            found |= {os.fsdecode(os.path.join(folder.path, entry.name)) for entry in folder.entries}
        return found
    finally:
        source.close()


def below(root: Path, found: set[str]) -> set[str]:
    """The paths relative to `root`, itself left out."""
    return {os.path.relpath(path, root) for path in found} - {"."}

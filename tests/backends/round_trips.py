"""One repository for a real restic and for Limpet, wherever it is: what the one writes the other goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from limpet.testing.restic import Restic


class Place(Protocol):
    """Where a repository is to be, and both programs on it."""

    def limpet(self, *arguments: str | Path) -> int:
        """The exit code of Limpet with this command."""

    def restic(self, restic: Restic, *arguments: str | Path) -> bytes:
        """What restic prints; AssertionError if it fails."""


def restic_goes_on(place: Place, restic: Restic, scratch: Path) -> None:
    """Limpet makes the repository, restic checks it and writes to it, Limpet restores that; AssertionError if not."""
    folder = saved_folder(scratch)
    assert place.limpet("init") == 0
    assert place.limpet("backup", folder) == 0
    assert b"no errors were found" in place.restic(restic, "check", "--read-data")
    (folder / "new").write_bytes(b"new")
    place.restic(restic, "backup", folder)
    assert place.limpet("check", "--read-data") == 0
    assert place.limpet("restore", f"latest:{folder}", "--target", scratch / "restored") == 0
    assert contents(scratch / "restored") == contents(folder)


def limpet_goes_on(place: Place, restic: Restic, scratch: Path) -> None:
    """restic makes the repository, Limpet writes to it and prunes, restic restores that; AssertionError if not."""
    folder = saved_folder(scratch)
    place.restic(restic, "init")
    place.restic(restic, "backup", folder)
    (folder / "new").write_bytes(b"new")
    assert place.limpet("backup", folder) == 0
    assert place.limpet("forget", "--keep-last", "1", "--prune") == 0
    assert b"no errors were found" in place.restic(restic, "check", "--read-data")
    place.restic(restic, "restore", "latest", "--target", scratch / "restored")
    assert contents(scratch / "restored" / folder.relative_to("/")) == contents(folder)


def saved_folder(scratch: Path) -> Path:
    """What is backed up: a file that fits into a blob, and one that does not."""
    folder = scratch / "folder"
    folder.mkdir()
    (folder / "small").write_bytes(b"a small file")
    (folder / "large").write_bytes(bytes(range(256)) * 20_000)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}

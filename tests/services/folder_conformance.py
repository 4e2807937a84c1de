"""`FolderConformance`: the conformance suite for backends whose files lie below a folder of this machine."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.testing.backend import BackendConformance


def path_below(root: Path, handle: Handle) -> Path:
    """Where restic keeps this file of a repository."""
    if handle.kind is FileKind.CONFIG:
        return root / "config"
    folder = root.joinpath(handle.kind.value)
    return folder / handle.name[:2] / handle.name if handle.kind is FileKind.PACK else folder / handle.name


class FolderConformance(BackendConformance):
    """The back door of all of them: the disk itself."""

    @abstractmethod
    def root_of(self, backend: Backend) -> Path:
        """The folder of the backend's repository."""

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        path = path_below(self.root_of(backend), handle)
        return path.read_bytes() if path.exists() else None

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        path = path_below(self.root_of(backend), handle)
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            path.chmod(0o600)  # some store their files read-only
        path.write_bytes(data)

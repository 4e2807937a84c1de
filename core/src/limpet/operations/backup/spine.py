"""The folders above the targets: one tree for all sources, whatever they deliver."""

from __future__ import annotations

import stat as stat_modes
from dataclasses import dataclass, field

from limpet.contracts.source import MadeStat, Source, StatLike, Target
from limpet.errors import UsageError


@dataclass(slots=True)
class SpineFolder:
    """A folder that leads to targets, or a target itself."""

    path: bytes
    name: bytes
    status: StatLike
    children: dict[bytes, SpineFolder] = field(default_factory=dict)
    target: Target | None = None
    source: Source | None = None
    asked: Source | None = None
    """The last that was asked for its status."""
    real_path: bytes | None = None
    """Where it is in the file system; None for a made-up one."""


class Spine:
    """Targets by their paths in the snapshot. A target below another one is part of it already."""

    def __init__(self, time_ns: int) -> None:
        # What restic gives to folders that are only made up.
        self._made = MadeStat(stat_modes.S_IFDIR | 0o755, time_ns)
        self.root = SpineFolder(b"/", b"", self._made)

    def add(self, source: Source, target: Target) -> None:
        """Take in one target; UsageError if another source has something else at its path."""
        folder = self.root
        names = [name for name in target.path.split(b"/") if name]
        path = b""
        for name in names:
            if folder.target is not None:
                self._refuse_clash(folder, source)
                return
            path += b"/" + name
            folder = folder.children.setdefault(name, SpineFolder(path, name, self._made))
            if folder.status is self._made and folder.asked is not source and path != target.path:
                self._describe(folder, source)
        self._refuse_clash(folder, source)
        folder.target, folder.source, folder.children = target, source, {}
        folder.status, folder.real_path = target.entry.stat, target.entry.real_path(target.open_path)

    def _describe(self, folder: SpineFolder, source: Source) -> None:
        """Take what the source knows of a folder that those before it knew nothing of."""
        folder.asked = source
        status = source.folder_stat(folder.path)
        if status is not None:
            folder.status, folder.real_path = status, source.folder_path(folder.path)

    def _refuse_clash(self, folder: SpineFolder, source: Source) -> None:
        others = [folder]
        while others:
            other = others.pop()
            if other.source is not None and other.source is not source:
                raise UsageError(f"two sources deliver {other.path.decode(errors='replace')}; back them up separately")
            others.extend(other.children.values())

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
            if name not in folder.children:
                status = source.folder_stat(path) if path != target.path else None
                folder.children[name] = SpineFolder(
                    path, name, status or self._made, real_path=source.folder_path(path) if status is not None else None
                )
            folder = folder.children[name]
        self._refuse_clash(folder, source)
        folder.target, folder.source, folder.children = target, source, {}
        folder.status, folder.real_path = target.entry.stat, target.entry.real_path(target.open_path)

    def _refuse_clash(self, folder: SpineFolder, source: Source) -> None:
        others = [folder]
        while others:
            other = others.pop()
            if other.source is not None and other.source is not source:
                raise UsageError(f"two sources deliver {other.path.decode(errors='replace')}; back them up separately")
            others.extend(other.children.values())

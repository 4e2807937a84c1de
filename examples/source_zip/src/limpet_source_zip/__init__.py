"""The members of a zip archive, backed up without unpacking it: `limpet backup zip:site.zip`."""

from __future__ import annotations

import io
import os
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import IO, BinaryIO, ClassVar, Self

from limpet.contracts.source import Entry, Folder, MadeStat, Source, SourceRequest, Target
from limpet.errors import SourceError, UsageError

Tree = dict[bytes, "Tree | zipfile.ZipInfo"]
"""A folder of the archive: what each name stands for."""


class ZipSource(Source):
    """One archive. It becomes a folder with the archive's path in the snapshot, its members inside."""

    contract_version: ClassVar[int] = 1

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        try:
            self._archive = zipfile.ZipFile(self._path)
            self._mtime_ns = os.stat(self._path).st_mtime_ns
        except (OSError, zipfile.BadZipFile) as error:
            raise SourceError(f"cannot read the archive {self._path}: {error}") from error
        self._tree = _tree_of(self._archive)

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source for one archive; UsageError for none or several."""
        if len(request.targets) != 1 or not request.targets[0]:
            raise UsageError("zip: takes one archive, as in zip:site.zip")
        return cls(request.targets[0])

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return [self._path]

    def targets(self) -> Sequence[Target]:
        path = os.fsencode(self._path)
        return [Target(path, Entry(os.path.basename(path), self._folder_stat(), made=True))]

    def folders(self, target: Target) -> Iterator[Folder]:
        return self._folders(target.path, self._tree)

    def scan(self) -> tuple[int, int]:
        files = [member for member in self._archive.infolist() if not member.is_dir()]
        return len(files), sum(member.file_size for member in files)

    def close(self) -> None:
        self._archive.close()

    def _folders(self, path: bytes, tree: Tree) -> Iterator[Folder]:
        yield Folder(path, [self._entry(name, tree[name]) for name in sorted(tree)])
        for name in sorted(tree):
            below = tree[name]
            if isinstance(below, dict):
                yield from self._folders(path + b"/" + name, below)

    def _entry(self, name: bytes, member: Tree | zipfile.ZipInfo) -> Entry:
        if isinstance(member, dict):
            return Entry(name, self._folder_stat(), made=True)
        mode = (member.external_attr >> 16) & 0o777 or 0o644
        seconds = time.mktime((*member.date_time, 0, 0, -1))
        status = MadeStat(stat.S_IFREG | mode, int(seconds) * 10**9, st_size=member.file_size)
        return Entry(name, status, stream=partial(self._open_member, member), made=True)

    def _open_member(self, member: zipfile.ZipInfo) -> BinaryIO:
        return io.BufferedReader(_Member(self._archive.open(member)))

    def _folder_stat(self) -> MadeStat:
        return MadeStat(stat.S_IFDIR | 0o755, self._mtime_ns)


class _Member(io.RawIOBase):
    """A member's content. Python checks its CRC on the way; a wrong one is an error of this file alone: OSError."""

    def __init__(self, content: IO[bytes]) -> None:
        super().__init__()
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Bytes read; OSError for a damaged member."""
        try:
            data = self._content.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error) as error:
            raise OSError(str(error)) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the member; the archive stays open."""
        self._content.close()
        super().close()


def _tree_of(archive: zipfile.ZipFile) -> Tree:
    """The members by folder. SourceError for a name that leads out of the archive or is taken twice."""
    root: Tree = {}
    for member in archive.infolist():
        names = os.fsencode(member.filename).rstrip(b"/").split(b"/")
        if any(name in {b"", b".", b".."} or b"\0" in name for name in names):
            raise SourceError(f"{archive.filename}: not a name to keep: {member.filename!r}")
        folder = root
        for name in names if member.is_dir() else names[:-1]:
            below = folder.setdefault(name, {})
            if not isinstance(below, dict):
                raise SourceError(f"{archive.filename}: {member.filename!r} is both a file and a folder")
            folder = below
        if not member.is_dir():
            if names[-1] in folder:
                raise SourceError(f"{archive.filename}: {member.filename!r} is there twice")
            folder[names[-1]] = member
    return root

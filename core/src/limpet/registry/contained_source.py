"""A source inside a fence: its errors name it, its nonsense is refused before it becomes part of a snapshot."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Self, TypeVar, overload

from limpet.contracts.source import Entry, Extent, Folder, ParentInfo, Source, SourceRequest, StatLike, Target
from limpet.errors import LimpetError, SourceError
from limpet.progress import Reporter
from limpet.registry.plugin_calls import described, plugin_calls

T = TypeVar("T")
_END = object()


class ContainedSource(Source):
    """Does what `inner` does; SourceError for what it raises beyond its contract, and for nonsense that it delivers."""

    contract_version = 1

    def __init__(self, name: str, inner: Source, reporter: Reporter | None) -> None:
        self.inner = inner
        self._name = f"the source plugin {name!r}"
        self._reporter = reporter

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """Never: it is put around an open source."""
        raise NotImplementedError

    @property
    def has_parent(self) -> bool:  # type: ignore[override]
        return self.inner.has_parent

    @property
    def snapshot_paths(self) -> Sequence[str]:
        paths = self._ask("snapshot_paths", lambda: self.inner.snapshot_paths)
        if not isinstance(paths, Sequence) or not all(isinstance(path, str) and path for path in paths):
            raise self._nonsense("snapshot_paths", paths)
        return paths

    @property
    def error_count(self) -> int:
        return self._ask("error_count", lambda: self.inner.error_count)

    def begin(self, parent: ParentInfo | None) -> None:
        self._ask("begin", lambda: self.inner.begin(parent))

    def targets(self) -> Sequence[Target]:
        targets = self._ask("targets", self.inner.targets)
        for target in targets:
            if not isinstance(target, Target) or not _is_path(target.path) or not isinstance(target.entry, Entry):
                raise self._nonsense("targets", target)
            if target.entry.name != target.path.rpartition(b"/")[2]:
                raise self._nonsense("targets", target)
            self._fence(target.entry, target.path)
        return targets

    def folders(self, target: Target) -> Iterator[Folder]:
        folders = iter(self._ask("folders", lambda: self.inner.folders(target)))
        while (folder := self._ask("folders", lambda: next(folders, _END))) is not _END:
            if not isinstance(folder, Folder) or not _is_path(folder.path):
                raise self._nonsense("folders", folder)
            if folder.open_path is None:  # Names of real files come from the file system.
                self._look_at(folder)
            yield folder

    def folder_stat(self, path: bytes) -> StatLike | None:
        return self._ask("folder_stat", lambda: self.inner.folder_stat(path))

    def folder_path(self, path: bytes) -> bytes | None:
        return self._ask("folder_path", lambda: self.inner.folder_path(path))

    def shown_path(self, real_path: bytes) -> bytes:
        return self._ask("shown_path", lambda: self.inner.shown_path(real_path))

    @property
    def devices(self) -> Mapping[int, int]:
        return self._ask("devices", lambda: self.inner.devices)

    def scan(self) -> tuple[int, int]:
        return self._ask("scan", self.inner.scan, may_be_slow=True)

    def finish(self) -> None:
        self._ask("finish", self.inner.finish)

    def saved(self, snapshot_id: str) -> None:
        self._ask("saved", lambda: self.inner.saved(snapshot_id))

    def close(self) -> None:
        self._ask("close", self.inner.close)

    def _look_at(self, folder: Folder) -> None:
        names = [entry.name for entry in folder.entries]
        if not all(isinstance(name, bytes) and _is_name(name) for name in names) or names != sorted(set(names)):
            raise self._nonsense("folders", f"names unsorted, twice or not possible in {folder.path!r}: {names}")
        for entry in folder.entries:
            self._fence(entry, folder.path + b"/" + entry.name)

    def _fence(self, entry: Entry, path: bytes) -> None:
        if entry.stream is not None and not isinstance(entry.stream, _Opener):
            opener = _Opener(self._name, entry.stream, f"reading {path.decode(errors='replace')}", self._reporter)
            entry.stream = opener
            if entry.extents is not None:
                entry.extents = _Extents(entry.extents, opener)

    def _ask(self, what: str, call: Callable[[], T], *, may_be_slow: bool = False) -> T:
        with plugin_calls.during(self._name, what, SourceError, self._reporter, limits_its_time=may_be_slow):
            return call()

    def _nonsense(self, what: str, found: object) -> SourceError:
        return SourceError(
            f"{self._name} delivers nonsense from {what}: {found if isinstance(found, str) else repr(found):.200}"
        )


@dataclass(frozen=True, slots=True)
class _Opener:
    """Opens a stream inside the fence."""

    plugin: str
    inner: Callable[[], BinaryIO]
    what: str
    reporter: Reporter | None

    def __call__(self) -> BinaryIO:
        with self.calling():
            stream = self.inner()
        return ContainedStream(stream, self)  # type: ignore[return-value]

    @contextmanager
    def calling(self) -> Iterator[None]:
        lets_through = (LimpetError, OSError)  # An OSError is of this one file.
        try:
            with plugin_calls.during(self.plugin, self.what, SourceError, self.reporter, lets_through=lets_through):
                yield
        except (ConnectionError, TimeoutError) as error:
            raise SourceError(f"{self.plugin} failed at {self.what}: {described(error)}") from error


class _Extents(Sequence[Extent]):
    """What a source knows of a stream, asked for inside the fence, and no earlier than somebody looks."""

    def __init__(self, inner: Sequence[Extent], opener: _Opener) -> None:
        self._inner = inner
        self._opener = opener
        self._found: Sequence[Extent] | None = None

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, index: int) -> Extent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Extent]: ...
    def __getitem__(self, index: int | slice) -> Extent | Sequence[Extent]:
        return self._all()[index]

    def _all(self) -> Sequence[Extent]:
        if self._found is None:
            with self._opener.calling():
                found = tuple(self._inner)
            for extent in found:
                if not isinstance(extent, Extent):
                    raise SourceError(f"{self._opener.plugin} gives nonsense as extents: {extent!r:.100}")
            self._found = found
        return self._found


class ContainedStream(io.RawIOBase):
    """A stream of a source's, with the same fence around each read."""

    def __init__(self, inner: BinaryIO, opener: _Opener) -> None:
        super().__init__()
        self._inner = inner
        self._opener = opener

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As the contract of streams says; SourceError for a count that cannot be."""
        with self._opener.calling():
            readinto = getattr(self._inner, "readinto", None)
            if readinto is None:
                data = self._inner.read(len(buffer))
                count = len(data)
                buffer[:count] = data
            else:
                count = readinto(buffer)
        if not isinstance(count, int) or not 0 <= count <= len(buffer):
            raise SourceError(f"{self._opener.plugin} gives nonsense from {self._opener.what}: {count!r:.100} bytes")
        return count

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any stream."""
        with self._opener.calling():
            return self._inner.seek(offset, whence)

    def close(self) -> None:
        """Close the source's own."""
        if not self.closed:
            super().close()
            with self._opener.calling():
                self._inner.close()


def _is_path(path: object) -> bool:
    return isinstance(path, bytes) and (
        path == b"/" or (path.startswith(b"/") and all(map(_is_name, path[1:].split(b"/"))))
    )


def _is_name(name: bytes) -> bool:
    return name not in {b"", b".", b".."} and b"/" not in name and b"\0" not in name

"""Copies of indexes, snapshots and tree packs on the local disk, never trusted before they were verified."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from limpet.contracts.backend import Backend, Content, FileInfo, FileKind, Handle
from limpet.errors import MissingFileError
from limpet.ids import is_hex_id
from limpet.progress import Reporter, SilentReporter
from limpet.storage.cachefolder import prepare_cache
from limpet.storage.wrapping import WrappingBackend

CACHED_KINDS = frozenset({FileKind.INDEX, FileKind.SNAPSHOT, FileKind.PACK})
TEMPORARY_PREFIX = "tmp-"
STALE_TEMPORARY_S = 3600.0
SMALL_BYTES = 128 * 1024


class Cache:
    """The cached files of one repository, in restic's layout. Safe with several threads and processes.

    A file is verified against the SHA-256 that is its name when this process first reads it; a damaged one is
    removed. Nothing here raises for the disk's sake: without a usable folder there is one warning, and no cache.
    """

    def __init__(self, folder: Path, repository_id: str, *, reporter: Reporter | None = None) -> None:
        self._reporter = reporter or SilentReporter()
        self._verified: dict[Handle, tuple[int, int]] = {}
        self.problem: str | None = None
        """Why there is no cache; None while there is one."""
        self.path = folder / repository_id
        try:
            self.path = prepare_cache(folder, repository_id)
        except (OSError, ValueError) as error:
            self._give_up(error)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes | None:
        """The bytes of the range, cut where the file ends; None if there is no sound copy."""
        if self.problem is not None:
            return None
        try:
            descriptor = os.open(self._file(handle), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        try:
            with open(descriptor, "rb", buffering=0) as file:
                if not self._is_sound(handle, file.fileno()):
                    self.remove(handle)
                    return None
                file.seek(offset_bytes)
                return file.read() if length_bytes is None else file.read(length_bytes)
        except OSError:
            return None

    def save(self, handle: Handle, data: memoryview) -> None:
        """Keep a copy of the file, whole or not at all."""
        if self.problem is not None:
            return
        path = self._file(handle)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with open(temporary, "xb") as file:
                    file.write(data)
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
        except OSError as error:
            self._give_up(error)

    def remove(self, handle: Handle) -> None:
        """Forget the file, if there is a copy."""
        self._verified.pop(handle, None)
        with contextlib.suppress(OSError):
            self._file(handle).unlink()

    def keep_only(self, kind: FileKind, names: set[str]) -> None:
        """Forget the files of the kind that are not among the names: they are gone from the repository."""
        if self.problem is not None:
            return
        for name in self.names(kind) - names:
            self.remove(Handle(kind, name))

    def names(self, kind: FileKind) -> set[str]:
        """The names of the files of which there is a copy. Sweeps out what dead processes left."""
        found = set()
        for folder, _, names in os.walk(self.path / kind.value):
            for name in names:
                if is_hex_id(name):
                    found.add(name)
                elif name.startswith(TEMPORARY_PREFIX):
                    _remove_stale(os.path.join(folder, name))
        return found

    def delete(self) -> None:
        """Remove the whole cache of this repository."""
        self._verified.clear()
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, handle: Handle) -> Path:
        return self.path / handle.kind.value / handle.name[:2] / handle.name

    def _is_sound(self, handle: Handle, descriptor: int) -> bool:
        status = os.fstat(descriptor)
        version = (status.st_size, status.st_mtime_ns)
        if self._verified.get(handle) == version:
            return True
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            # `file_digest` makes a buffer of 256 KiB each time: of 1,000 snapshots it was three quarters of the time.
            is_small = status.st_size <= SMALL_BYTES
            digest = hashlib.sha256(file.read()) if is_small else hashlib.file_digest(file, "sha256")
            if digest.hexdigest() != handle.name:
                return False
        self._verified[handle] = version
        return True

    def _give_up(self, error: Exception) -> None:
        if self.problem is None:
            self.problem = str(error)
            self._reporter.warning(f"going on without the cache in {self.path}: {error}")


class CacheBackend(WrappingBackend):
    """Reads indexes, snapshots and tree packs from the cache where it can, and keeps what it had to fetch."""

    def __init__(self, inner: Backend, cache: Cache) -> None:
        super().__init__(inner)
        self.cache = cache
        self._lock = threading.Lock()
        self._fetching: dict[Handle, threading.Lock] = {}

    def save(self, handle: Handle, content: Content) -> None:
        super().save(handle, content)
        if self._is_cached(handle):
            self.cache.save(handle, content.data)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        if not self._is_cached(handle) or offset_bytes < 0:
            return super().load(handle, offset_bytes, length_bytes)
        data = self.cache.load(handle, offset_bytes, length_bytes)
        if data is None:
            whole = self._fetch(handle)
            if whole is None:
                return super().load(handle, offset_bytes, length_bytes)
            end = len(whole) if length_bytes is None else offset_bytes + length_bytes
            data = whole[offset_bytes:end]
        if not data or (length_bytes is not None and len(data) != length_bytes):
            # Beyond the end, or the copy was cut since it was found sound: the storage tells which.
            return super().load(handle, offset_bytes, length_bytes)
        return data

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        if self._is_cached(handle):
            buffer[:] = self.load(handle, offset_bytes, buffer.nbytes)
        else:
            super().load_into(handle, offset_bytes, buffer)

    def stat(self, handle: Handle) -> FileInfo:
        try:
            return super().stat(handle)
        except MissingFileError:
            self._forget(handle)
            raise

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        """The storage's listing; when it is complete, copies of files that are not in it are dropped."""
        if kind not in CACHED_KINDS:
            yield from super().list(kind)
            return
        names = set()
        for info in super().list(kind):
            names.add(info.name)
            yield info
        self.cache.keep_only(kind, names)

    def remove(self, handle: Handle) -> None:
        try:
            super().remove(handle)
        except MissingFileError:
            self._forget(handle)
            raise
        self._forget(handle)

    def delete(self) -> None:
        super().delete()
        self.cache.delete()

    def _is_cached(self, handle: Handle) -> bool:
        if self.cache.problem is not None or handle.kind not in CACHED_KINDS or not is_hex_id(handle.name):
            return False
        return handle.is_tree_pack or handle.kind is not FileKind.PACK

    def _forget(self, handle: Handle) -> None:
        if handle.kind in CACHED_KINDS and is_hex_id(handle.name):
            self.cache.remove(handle)

    def _fetch(self, handle: Handle) -> bytes | None:
        """The whole file, now in the cache; None if what is stored is damaged, which the caller must see as it is.

        Threads that want the same file wait for the one that fetches it.
        """
        with self._lock:
            fetching = self._fetching.setdefault(handle, threading.Lock())
        try:
            with fetching:
                data = self.cache.load(handle)
                if data is None:
                    data = self.inner.load(handle)
                    if hashlib.sha256(data).hexdigest() != handle.name:
                        return None
                    self.cache.save(handle, memoryview(data))
                return data
        finally:
            with self._lock:
                self._fetching.pop(handle, None)


def _remove_stale(path: str) -> None:
    with contextlib.suppress(OSError):
        if time.time() - os.stat(path).st_mtime > STALE_TEMPORARY_S:
            os.unlink(path)

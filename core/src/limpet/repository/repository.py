"""One repository in use: its key, its config, its index, its files and its blobs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from limpet.contracts.backend import CONFIG_HANDLE, Backend, Content, FileInfo, FileKind, Handle
from limpet.errors import (
    BackendError,
    IntegrityError,
    LimpetError,
    MissingFileError,
    NoRepositoryError,
    RepositoryError,
)
from limpet.format.chunker import random_polynomial
from limpet.format.compression import Compressor, Decompressor, Level
from limpet.format.config import Config, decode_config, encode_config
from limpet.format.crypto import MasterKey
from limpet.format.indexfile import encode_index
from limpet.format.kdf import KdfParameters
from limpet.format.node import Node
from limpet.format.pack import BlobKind, PackedBlob
from limpet.format.tree import decode_tree, decode_tree_fields, iter_tree_fields
from limpet.format.unpacked import decode_unpacked, encode_unpacked
from limpet.ids import BlobId, StorageId, parse_storage_id, short
from limpet.progress import Reporter, SilentReporter
from limpet.repository.blob_index import BlobIndex
from limpet.repository.blobs import BlobOpener
from limpet.repository.keys import OpenedKey, create_key, open_key
from limpet.repository.locks import DEFAULT_TIMING, LockTiming, RepositoryLock
from limpet.repository.threads import storage_threads
from limpet.repository.trees import TreeReader
from limpet.storage.cache import Cache, CacheBackend
from limpet.storage.freeze import FreezeBackend, find_freezer
from limpet.storage.wrapping import WrappingBackend

MIB = 1024 * 1024
VERSIONS = (1, 2)
LATEST_VERSION = 2
TREE_BATCH_BYTES = 256 * 1024
"""So much of a huge tree's JSON is decoded at once: in memory it is four times as large."""


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """How a repository is written and read; nothing of it is stored."""

    compression: Level = Level.AUTO
    pack_size_bytes: int = 16 * MIB
    verify_before_upload: bool = True
    cache_folder: Path | None = None
    """Where copies of indexes, snapshots and tree packs are kept; None for no cache."""
    reporter: Reporter = field(default_factory=SilentReporter)
    """Is told of a cache that cannot be used and of a lock that is waited for or lost."""


class Repository:
    """An open repository. Reading is thread-safe; close it, or use it as a context manager."""

    def __init__(
        self, backend: Backend, config: Config, key: MasterKey, key_id: StorageId, settings: RepositorySettings
    ) -> None:
        self.config = config
        self.key = key
        self.key_id = key_id
        self.settings = settings
        self.index = BlobIndex()
        self._index_names: set[str] | None = None
        cached = _cached(backend, config, settings)
        freezer = find_freezer(cached)
        self.backend: Backend = cached if freezer is not None else FreezeBackend(cached)
        self._locks: WeakSet[RepositoryLock] = WeakSet()
        self._local = threading.local()
        self.trees = TreeReader(self.index, lambda: self.backend, self.opener, self.load_blob)

    # -- life ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        backend: Backend,
        password: str,
        *,
        version: int = LATEST_VERSION,
        polynomial: int | None = None,
        kdf: KdfParameters | None = None,
        settings: RepositorySettings | None = None,
    ) -> Self:
        """A new repository at the backend; RepositoryError if there is one already."""
        if version not in VERSIONS:
            raise RepositoryError(f"repository version {version} is unknown; choose 1 or 2")
        _refuse_existing(backend)
        backend.create()
        key = MasterKey.generate()
        key_id = create_key(backend, password, key, parameters=kdf)
        config = Config.new(version, polynomial or random_polynomial())
        repository = cls(backend, config, key, key_id, settings or RepositorySettings())
        repository._save_config()
        return repository

    @classmethod
    def open(
        cls,
        backend: Backend,
        password: str,
        *,
        key_hint: str | None = None,
        settings: RepositorySettings | None = None,
    ) -> Self:
        """The repository at the backend.

        NoRepositoryError where there is none, WrongPasswordError where no key opens with the password.
        """
        try:
            backend.stat(CONFIG_HANDLE)
        except MissingFileError as error:
            raise NoRepositoryError(f"repository does not exist: unable to open config file: {error}") from error
        return cls.unlocked(backend, open_key(backend, password, hint=key_hint), settings=settings)

    @classmethod
    def unlocked(cls, backend: Backend, opened: OpenedKey, *, settings: RepositorySettings | None = None) -> Self:
        """The repository at the backend, one of whose keys is open."""
        sealed = backend.load(CONFIG_HANDLE)
        opener = BlobOpener(opened.master_key)
        try:
            config = decode_config(opener.box.open(sealed))
        except IntegrityError as error:
            raise IntegrityError(f"config is damaged: {error}") from error
        return cls(backend, config, opened.master_key, opened.key_id, settings or RepositorySettings())

    def interrupt(self) -> None:
        """End the pauses of retries and rate limits: what would have to wait fails. For a run told to stop."""
        if isinstance(self.backend, WrappingBackend):
            self.backend.interrupt()

    def close(self) -> None:
        """Release the backend, and the locks that an interrupt has left behind. Idempotent."""
        for lock in tuple(self._locks):
            lock.release()
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def lock(
        self,
        *,
        exclusive: bool = False,
        retry_lock_s: float = 0.0,
        no_lock: bool = False,
        timing: LockTiming = DEFAULT_TIMING,
    ) -> AbstractContextManager[object]:
        """Hold a lock while in the context; LockedError if another's lock excludes it."""
        if no_lock:
            return nullcontext()
        lock = RepositoryLock(
            self, exclusive=exclusive, retry_lock_s=retry_lock_s, reporter=self.settings.reporter, timing=timing
        )
        self._locks.add(lock)
        return lock

    def confirm_lock(self) -> None:
        """Look the lock that we hold up once more, before what cannot be undone; LockedError if it is gone."""
        freezer = find_freezer(self.backend)
        if freezer is not None:
            freezer.confirm()

    # -- unpacked files -----------------------------------------------------------------------------------------

    def list_files(self, kind: FileKind) -> list[FileInfo]:
        """Every stored file of the kind, by name."""
        return sorted(self.backend.list(kind), key=lambda info: info.name)

    def load_unpacked(self, kind: FileKind, file_id: StorageId) -> bytes:
        """The JSON of a sealed index, snapshot or lock; IntegrityError if the stored bytes are not its id's."""
        handle = Handle(kind, file_id.hex())
        stored = self.backend.load(handle)
        if sha256(stored).digest() != file_id:
            # A transfer may have gone wrong once; the cache may be damaged and has been told by now.
            stored = self.backend.load(handle)
            if sha256(stored).digest() != file_id:
                raise IntegrityError(f"{handle} is damaged: its bytes do not have the hash that its name says")
        opener = self.opener()
        try:
            return decode_unpacked(opener.box.open(stored), Decompressor())
        except IntegrityError as error:
            raise IntegrityError(f"{handle} is damaged: {error}") from error

    def save_unpacked(self, kind: FileKind, json: bytes) -> StorageId:
        """Seal and store an index, snapshot or lock; its id."""
        plain = encode_unpacked(json, self.config.version, Compressor(self.settings.compression))
        sealed = self.opener().box.seal(plain)
        if self.settings.verify_before_upload:
            again = decode_unpacked(self.opener().box.open(sealed), Decompressor())
            if again != json:
                raise IntegrityError(f"{kind.value}: sealed bytes do not open to what was written; is memory damaged?")
        file_id = StorageId(sha256(sealed).digest())
        self.backend.save(Handle(kind, file_id.hex()), Content(memoryview(sealed), file_id))
        return file_id

    def remove_unpacked(self, kind: FileKind, file_id: StorageId) -> None:
        """Remove a stored file."""
        self.backend.remove(Handle(kind, file_id.hex()))

    def load_index(self, reporter: Reporter | None = None) -> None:
        """Read every index file into `index`, once. Read the snapshots you need before: a writer adds indexes first.

        A damaged index file is reported, the others are used.
        """
        if self._index_names is None:
            self._load_index(self.index, reporter or SilentReporter())

    def refresh_index(self, reporter: Reporter | None = None) -> None:
        """Read what others have added to the index files, or all of them if some are gone.

        Nobody may be storing blobs meanwhile.
        """
        names = {info.name for info in self.list_files(FileKind.INDEX)}
        known = self._index_names
        if known is not None and known <= names:
            self._index_names = names
            added = self.read_files(FileKind.INDEX, sorted(names - known))
            self._add_index_files(self.index, added, reporter or SilentReporter())
        else:
            fresh = BlobIndex()
            self._load_index(fresh, reporter or SilentReporter())
            self.index.table = fresh.table

    def load_whole_index(self) -> None:
        """Read all index files anew; the error of the first that is damaged. For what must not overlook a blob."""
        self.drop_index()
        try:
            for name, json in self.read_index_files():
                if isinstance(json, LimpetError):
                    raise json
                try:
                    self.index.add_file(json)
                except IntegrityError as error:
                    raise IntegrityError(f"index/{name} is damaged: {error}") from error
        except BaseException:
            self.drop_index()
            raise

    def drop_index(self) -> None:
        """Forget the index, and with it much memory; it has to be loaded again."""
        self.index.table = BlobIndex().table
        self._index_names = None

    @property
    def index_names(self) -> set[str]:
        """The index files that were loaded, and those saved since."""
        return set(self._index_names or ())

    def save_index(self, packs: Sequence[tuple[StorageId, Iterable[PackedBlob]]]) -> None:
        """Store an index file for packs just written; their blobs are known from now on."""
        file_id = self.save_unpacked(FileKind.INDEX, encode_index(packs))
        if self._index_names is not None:
            self._index_names.add(file_id.hex())
        for pack_id, blobs in packs:
            self.index.add_pack(pack_id, blobs)

    def _load_index(self, index: BlobIndex, reporter: Reporter) -> None:
        self._add_index_files(index, self.read_index_files(), reporter)

    def _add_index_files(
        self, index: BlobIndex, files: Iterable[tuple[str, bytes | LimpetError]], reporter: Reporter
    ) -> None:
        for name, json in files:
            try:
                if isinstance(json, LimpetError):
                    raise json
                index.add_file(json)
            except MissingFileError:
                continue  # merged into another since it was listed
            except (IntegrityError, BackendError) as error:
                reporter.error(error, during="load index", item=name)

    def read_index_files(self) -> Iterator[tuple[str, bytes | LimpetError]]:
        """Name and JSON of every index file, or why it cannot be read; a few are read ahead.

        Whoever asks for them puts them into `index`: they count as loaded from then on.
        """
        names = [info.name for info in self.list_files(FileKind.INDEX)]
        self._index_names = set(names)
        return self.read_files(FileKind.INDEX, names)

    def read_files(self, kind: FileKind, names: Sequence[str]) -> Iterator[tuple[str, bytes | LimpetError]]:
        """Name and JSON of each of these sealed files in turn, or why it cannot be read; a few are read ahead."""
        ahead = max(1, min(self.backend.properties.connections, len(names)))
        with storage_threads(self, ahead) as threads:
            reading: deque[tuple[str, Future[bytes | LimpetError]]] = deque()
            for name in names:
                reading.append((name, threads.submit(self._read_file, kind, name)))
                if len(reading) > ahead:  # an index is 8 MiB: only so many at once
                    first, future = reading.popleft()
                    yield first, future.result()
            for first, future in reading:
                yield first, future.result()

    def _read_file(self, kind: FileKind, name: str) -> bytes | LimpetError:
        try:
            return self.load_unpacked(kind, parse_storage_id(name))
        except (IntegrityError, BackendError) as error:
            return error

    # -- blobs --------------------------------------------------------------------------------------------------

    def load_blob(self, kind: BlobKind, blob_id: BlobId) -> bytes:
        """The blob's verified plaintext, from the first of its places that is sound; each is tried twice.

        RepositoryError if the index does not know it, IntegrityError if no copy of it is sound, BackendError if the
        storage did not let us know.
        """
        last_error: Exception | None = None
        places = self.index.find_all(kind, blob_id)
        for location in (*places, *places):  # a transfer may have gone wrong once
            handle = Handle(FileKind.PACK, location.pack_id.hex(), is_tree_pack=kind is BlobKind.TREE)
            try:
                sealed = self.backend.load(handle, location.offset_bytes, location.length_bytes)
                return self.opener().open(sealed, blob_id, location.plain_length_bytes)
            except IntegrityError as error:
                last_error = IntegrityError(f"{error} (in {handle})")
            except BackendError as error:
                last_error = error
        if last_error is None:
            raise RepositoryError(f"{kind.word} blob {blob_id.hex()} is in no index; was a pack or an index lost?")
        text = f"{kind.word} blob {short(blob_id)} cannot be read: {last_error}"
        if isinstance(last_error, BackendError) and not isinstance(last_error, MissingFileError):
            raise BackendError(text, permanent=last_error.permanent) from last_error
        raise IntegrityError(text) from last_error

    def load_tree(self, tree_id: BlobId) -> list[Node]:
        """The nodes of a tree."""
        return decode_tree(self.trees.read(tree_id))

    def load_tree_fields(self, tree_id: BlobId) -> list[dict[str, Any]]:
        """The nodes of a tree as their JSON fields: for comparing many at little cost."""
        return decode_tree_fields(self.trees.read(tree_id))

    def iter_tree_fields(self, tree_id: BlobId) -> Iterator[dict[str, Any]]:
        """`load_tree_fields` with bounded memory for huge trees: damage in one may be met after some of its nodes."""
        data = self.trees.read(tree_id)
        if len(data) <= 2 * TREE_BATCH_BYTES:
            return iter(decode_tree_fields(data))
        return iter_tree_fields(data, TREE_BATCH_BYTES)

    def opener(self) -> BlobOpener:
        """The calling thread's opener of sealed blobs."""
        try:
            opener: BlobOpener = self._local.opener
        except AttributeError:
            opener = self._local.opener = BlobOpener(self.key)
        return opener

    def seal_config(self, config: Config) -> bytes:
        """A config as it is stored, which has been opened again: with a damaged one nobody could open the repository.

        IntegrityError if what comes out is not what went in.
        """
        sealed = self.opener().box.seal(encode_config(config))
        if decode_config(BlobOpener(self.key).box.open(sealed)) != config:
            raise IntegrityError("config: sealed bytes do not open to what was written; is memory damaged?")
        return sealed

    def _save_config(self) -> None:
        sealed = self.seal_config(self.config)
        self.backend.save(CONFIG_HANDLE, Content(memoryview(sealed), sha256(sealed).digest()))


def _cached(backend: Backend, config: Config, settings: RepositorySettings) -> Backend:
    if settings.cache_folder is None:
        return backend
    return CacheBackend(backend, Cache(settings.cache_folder, config.id, reporter=settings.reporter))


def _refuse_existing(backend: Backend) -> None:
    try:
        backend.stat(CONFIG_HANDLE)
    except MissingFileError:
        pass
    else:
        raise RepositoryError(f"config file already exists: there is a repository at {backend.location}")
    keys: Iterable[FileInfo]
    try:
        keys = list(backend.list(FileKind.KEY))
    except BackendError:
        keys = ()
    if keys:
        raise RepositoryError(f"{backend.location} holds keys of another repository; choose an empty location")

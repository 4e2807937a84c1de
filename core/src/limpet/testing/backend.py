"""`BackendConformance`: what every backend must do, as a pytest class to inherit from.

class TestMyBackend(BackendConformance):
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        backend = MyBackend.open(...)
        backend.create()
        yield backend
        backend.close()

    def back_door_read(self, backend, handle): ...
    def back_door_write(self, backend, handle, data): ...
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from limpet.contracts.backend import (
    BACKEND_CONTRACT,
    CONFIG_HANDLE,
    Backend,
    Content,
    FileKind,
    Handle,
)
from limpet.errors import BackendError, LimpetError, MissingFileError
from limpet.storage.retry import RetryBackend
from limpet.testing.declarations import check_declared_options, check_stated_contract

T = TypeVar("T")

LISTED_KINDS = tuple(kind for kind in FileKind if kind is not FileKind.CONFIG)
MIB = 1 << 20
TRIES_OF_A_SAVE = 5

BAD_NAMES = (
    "",
    ".",
    "..",
    "../config",
    "/etc/passwd",
    "a" * 63,
    "a" * 65,
    "A" * 64,
    "g" * 64,
    "../" + "a" * 61,
    "a" * 31 + "/" + "a" * 32,
    "a" * 32 + "\0" + "a" * 31,
    "a" * 63 + "\n",
    "a" * 63 + "é",
)
"""Names that no file of a repository has; a backend must not touch what they would point at."""


def content_of(data: bytes) -> Content:
    """The content to save for these bytes."""
    return Content(memoryview(data), hashlib.sha256(data).digest())


def handle_of(data: bytes, kind: FileKind = FileKind.PACK) -> Handle:
    """The handle that a repository saves these bytes under."""
    return Handle(kind, hashlib.sha256(data).hexdigest())


def some_bytes(size_bytes: int, seed: int = 0) -> bytes:
    """Random bytes, the same for the same size and seed."""
    return random.Random(size_bytes * 1000 + seed).randbytes(size_bytes)


def save_all(backend: Backend, kind: FileKind, contents: Sequence[bytes]) -> list[Handle]:
    """Save each of the contents under its own hash; the handles."""
    handles = [handle_of(data, kind) for data in contents]
    for handle, data in zip(handles, contents, strict=True):
        backend.save(handle, content_of(data))
    return handles


class BackendConformance:
    """Inherit, give the fixture `backend` and the back door, and run pytest.

    The back door reaches the stored files without a method of the backend, so that a backend cannot agree
    with itself about something wrong.
    """

    secrets: Sequence[str] = ()
    """Passwords and tokens the backend was opened with: they must show up nowhere."""
    large_size_bytes = 17 * MIB + 4321
    """Larger than a usual pack and than most chunk sizes, and no multiple of anything."""
    largest_size_bytes = 128 * MIB
    """The largest pack that a repository may be set to; one file of this size is saved, once."""
    listed_files = 3001
    """How many files a listing is tried with; take more than one page of your service."""
    names_are_checked = False
    """Whether the store itself refuses a file whose SHA-256 is not its name: overwriting is tried with the config then,
    which has no such name."""

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        """A created, empty store; yours replaces this one."""
        raise NotImplementedError("define the fixture `backend` in your subclass")

    @abstractmethod
    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        """The stored bytes, None if there is no such file; uses no method of the backend."""

    @abstractmethod
    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        """Put these bytes in the place of the file, also under a name that is no id; uses no method of the backend."""

    def open_again(self, backend: Backend) -> Backend | None:
        """A second, independent instance on the same store; None where the store lives in the instance itself."""
        return None

    def open_with_wrong_credentials(self, backend: Backend) -> Backend | None:
        """The same store with a password or key that is none of its own; None where there are no credentials."""
        return None

    def open_missing_store(self, backend: Backend) -> Backend | None:
        """A bucket, container or folder that is not there, on the same server; None where there is no such thing."""
        return None

    def open_where_nothing_listens(self, backend: Backend) -> Backend | None:
        """The same store on a port of 127.0.0.1 or localhost that nobody listens on; None without a network."""
        return None

    def open_read_only(self, backend: Backend) -> Backend | None:
        """A way into the store of `backend` that may read and not write; None where there is no such thing."""
        return None

    # -- declarations

    def test_contract_version(self, backend: Backend) -> None:
        """A plugin built for another contract would fail in the middle of a backup instead of at its start."""
        check_stated_contract(type(backend), BACKEND_CONTRACT)

    def test_options_are_declared_well(self, backend: Backend) -> None:
        """`-o`, the environment, `--help` and the docs come from these declarations alone."""
        check_declared_options(type(backend).options)

    def test_properties(self, backend: Backend) -> None:
        """The core sizes its thread pools by `connections`."""
        assert backend.properties.connections >= 1

    def test_location_names_its_scheme(self, backend: Backend) -> None:
        """People copy the location out of messages; it has to work as `-r`."""
        scheme, separator, _ = backend.location.partition(":")
        assert scheme
        assert separator

    def test_no_secrets_shown(self, backend: Backend) -> None:
        """Logs and bug reports get published with the repr and the errors in them."""
        with pytest.raises(MissingFileError) as caught:
            backend.load(handle_of(b"not there"))
        for secret in self.secrets:
            assert secret not in repr(backend)
            assert secret not in str(backend)
            assert secret not in backend.location
            assert secret not in repr(caught.value) + str(caught.value)

    def test_create_again(self, backend: Backend) -> None:
        """`init` after an interrupted `init` must work, and lose nothing."""
        (handle,) = save_all(backend, FileKind.KEY, [b"a key"])
        backend.create()
        assert backend.load(handle) == b"a key"

    def test_close_again(self, backend: Backend) -> None:
        """Closing twice happens in every clean-up path."""
        backend.close()
        backend.close()

    # -- save and load

    @pytest.mark.parametrize("kind", LISTED_KINDS)
    def test_round_trip(self, backend: Backend, kind: FileKind) -> None:
        """Every kind of file comes back byte for byte, and is stored as it is."""
        data = some_bytes(5000)
        (handle,) = save_all(backend, kind, [data])
        assert backend.load(handle) == data
        assert self.back_door_read(backend, handle) == data
        info = backend.stat(handle)
        assert (info.name, info.size_bytes) == (handle.name, len(data))
        backend.remove(handle)
        assert self.back_door_read(backend, handle) is None

    def test_config(self, backend: Backend) -> None:
        """The config has no name and its own place; without it there is no repository."""
        with pytest.raises(MissingFileError):
            backend.stat(CONFIG_HANDLE)
        backend.save(CONFIG_HANDLE, content_of(b"the config"))
        assert backend.load(CONFIG_HANDLE) == b"the config"
        assert backend.stat(CONFIG_HANDLE).size_bytes == len(b"the config")
        assert self.back_door_read(backend, CONFIG_HANDLE) == b"the config"
        backend.remove(CONFIG_HANDLE)
        with pytest.raises(MissingFileError):
            backend.load(CONFIG_HANDLE)

    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65536, MIB, MIB + 1])
    def test_sizes(self, backend: Backend, size: int) -> None:
        """Sizes about a page, a buffer and nothing at all are where writes get cut."""
        data = some_bytes(size)
        (handle,) = save_all(backend, FileKind.PACK, [data])
        assert backend.load(handle) == data
        assert backend.stat(handle).size_bytes == size
        assert self.back_door_read(backend, handle) == data

    def test_large_file(self, backend: Backend) -> None:
        """Packs are 16 MiB and more: multi-part uploads, direct writes and timeouts start here."""
        data = some_bytes(self.large_size_bytes)
        (handle,) = save_all(backend, FileKind.PACK, [data])
        assert hashlib.sha256(backend.load(handle)).hexdigest() == handle.name
        assert backend.load(handle, len(data) - 99) == data[-99:]

    def test_largest_file(self, backend: Backend) -> None:
        """Packs may have up to 128 MiB: limits of a single upload, of parts and of 32-bit sizes show with these."""
        data, handle = _large_content(self.largest_size_bytes)
        backend.save(handle, Content(memoryview(data), bytes.fromhex(handle.name)))
        end = bytes(data[-4321:])
        del data
        assert backend.stat(handle).size_bytes == self.largest_size_bytes
        assert hashlib.sha256(backend.load(handle)).hexdigest() == handle.name
        assert backend.load(handle, self.largest_size_bytes - len(end), len(end)) == end

    def test_content_can_be_any_view(self, backend: Backend) -> None:
        """Packs are saved out of a slice of a reused buffer, which must stay free to be reused afterwards."""
        buffer = bytearray(some_bytes(3 * MIB))
        data = bytes(buffer[4096 : 4096 + 2 * MIB])
        with memoryview(buffer)[4096 : 4096 + 2 * MIB] as view:
            backend.save(handle_of(data), Content(view, hashlib.sha256(data).digest()))
        buffer[:] = bytes(len(buffer))
        buffer.extend(b"a view still held would make this fail")
        assert backend.load(handle_of(data)) == data

    def test_same_name_in_each_kind(self, backend: Backend) -> None:
        """Kinds are apart: an index and a pack may have one name."""
        data = b"the same name"
        for kind in LISTED_KINDS:
            backend.save(Handle(kind, handle_of(data).name), content_of(data))
        backend.remove(Handle(FileKind.INDEX, handle_of(data).name))
        left = [kind for kind in LISTED_KINDS if [info.name for info in backend.list(kind)] == [handle_of(data).name]]
        assert left == [kind for kind in LISTED_KINDS if kind is not FileKind.INDEX]

    def test_save_over_existing(self, backend: Backend) -> None:
        """Replacing is one step or refused: never a moment, or a rest, of the old file."""
        handle = self._handle_to_overwrite()
        old, new = some_bytes(70_000, seed=1), some_bytes(3_000, seed=2)
        backend.save(handle, content_of(old))
        if backend.properties.atomic_replace:
            backend.save(handle, content_of(new))
            assert backend.load(handle) == new
            assert backend.stat(handle).size_bytes == len(new)
        else:
            with pytest.raises(BackendError) as caught:
                backend.save(handle, content_of(new))
            assert caught.value.permanent
            assert backend.load(handle) == old

    def test_replace_is_seen_whole(self, backend: Backend) -> None:
        """A reader beside a replacing writer sees one version or the other, never a mixture or nothing.

        A server may say that it is too busy for that: then both ask again, as they do in a backup.
        """
        if not backend.properties.atomic_replace:
            pytest.skip("does not replace")
        backend = RetryBackend(backend)
        handle = self._handle_to_overwrite()
        versions = [some_bytes(200_000, seed=1), some_bytes(150_000, seed=2)]
        backend.save(handle, content_of(versions[0]))
        done = threading.Event()

        def write() -> None:
            try:
                for round_number in range(20):
                    backend.save(handle, content_of(versions[round_number % 2]))
            finally:
                done.set()

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(write)
            while not done.is_set():
                assert backend.load(handle) in versions
            writer.result()

    def test_two_writers_of_one_name(self, backend: Backend) -> None:
        """Two that overwrite each other leave one of both files, whole: what a save that succeeded promised is there.

        Where files are not replaced, exactly one of the two is told that it succeeded.
        """
        handle = self._handle_to_overwrite()
        other = self.open_again(backend) or backend
        try:
            for round_number in range(8):
                contents = [some_bytes(90_000 + 40_000 * n, seed=2 * round_number + n) for n in range(2)]
                errors = _save_at_once([backend, other], handle, contents)
                stored = backend.load(handle)
                assert stored in [data for data, error in zip(contents, errors, strict=True) if error is None]
                assert backend.stat(handle).size_bytes == len(stored)
                assert other.load(handle) == stored
                if backend.properties.atomic_replace:
                    assert errors == [None, None]
                else:
                    assert errors.count(None) == 1
                    backend.remove(handle)
        finally:
            if other is not backend:
                other.close()

    # -- ranges

    @pytest.mark.parametrize(
        ("offset", "length"),
        [
            (0, 0),
            (0, 1),
            (0, None),
            (1, 99),
            (4095, 2),
            (4096, 4096),
            (9_999, 1),
            (10_000, 0),
            (10_000, None),
            (77, None),
        ],
    )
    def test_ranges(self, backend: Backend, offset: int, length: int | None) -> None:
        """Blobs are read out of packs by range; one byte off is a damaged blob."""
        data = some_bytes(10_000)
        (handle,) = save_all(backend, FileKind.PACK, [data])
        expected = data[offset:] if length is None else data[offset : offset + length]
        assert backend.load(handle, offset, length) == expected
        buffer = bytearray(len(expected))
        backend.load_into(handle, offset, memoryview(buffer))
        assert buffer == expected

    @pytest.mark.parametrize(
        ("offset", "length"), [(0, 10_001), (9_999, 2), (10_000, 1), (10_001, 0), (10_001, None), (1 << 40, 5)]
    )
    def test_beyond_the_end(self, backend: Backend, offset: int, length: int | None) -> None:
        """A cut pack must be told at once as what it is: not retried for minutes, and no short answer."""
        (handle,) = save_all(backend, FileKind.PACK, [some_bytes(10_000)])
        with pytest.raises(BackendError) as caught:
            backend.load(handle, offset, length)
        assert caught.value.permanent
        if length is not None:
            with pytest.raises(BackendError) as caught:
                backend.load_into(handle, offset, memoryview(bytearray(length)))
            assert caught.value.permanent

    def test_load_into_leaves_the_rest_alone(self, backend: Backend) -> None:
        """Buffers are shared between ranges; what lies beside the range belongs to another."""
        data = some_bytes(10_000)
        (handle,) = save_all(backend, FileKind.PACK, [data])
        buffer = bytearray(b"\xee" * 300)
        backend.load_into(handle, 5_000, memoryview(buffer)[100:200])
        assert buffer == b"\xee" * 100 + data[5_000:5_100] + b"\xee" * 100

    # -- what is missing, damaged or no file of a repository

    @pytest.mark.parametrize("kind", LISTED_KINDS)
    def test_missing_file(self, backend: Backend, kind: FileKind) -> None:
        """Missing is not the same as unreachable: it is never retried, and often expected."""
        handle = Handle(kind, "0" * 64)
        calls: list[Callable[[], object]] = [
            lambda: backend.load(handle),
            lambda: backend.load(handle, 5, 5),
            lambda: backend.load_into(handle, 0, memoryview(bytearray(5))),
            lambda: backend.stat(handle),
            lambda: backend.remove(handle),
        ]
        for call in calls:
            with pytest.raises(MissingFileError):
                call()
        assert list(backend.list(kind)) == []

    def test_remove_is_final(self, backend: Backend) -> None:
        """A removed lock that still shows keeps everybody out."""
        handles = save_all(backend, FileKind.LOCK, [b"first", b"second"])
        backend.remove(handles[0])
        assert [info.name for info in backend.list(FileKind.LOCK)] == [handles[1].name]
        for call in (backend.stat, backend.load, backend.remove):
            with pytest.raises(MissingFileError):
                call(handles[0])

    def test_damage_is_passed_on(self, backend: Backend) -> None:
        """`check --read-data` must see the bytes that are stored, not those that were once saved."""
        data = some_bytes(9_000)
        (handle,) = save_all(backend, FileKind.PACK, [data])
        damaged = data[:100] + b"!" + data[101:4_000]
        self.back_door_write(backend, handle, damaged)
        assert backend.load(handle) == damaged
        assert backend.stat(handle).size_bytes == len(damaged)
        assert [info.size_bytes for info in backend.list(FileKind.PACK)] == [len(damaged)]
        with pytest.raises(BackendError) as caught:
            backend.load(handle, 3_990, 20)
        assert caught.value.permanent

    def test_file_of_another_program(self, backend: Backend) -> None:
        """A file that another restic put there is as good as one of our own."""
        handle = handle_of(b"from elsewhere")
        self.back_door_write(backend, handle, b"from elsewhere")
        assert [info.name for info in backend.list(FileKind.PACK)] == [handle.name]
        assert backend.load(handle) == b"from elsewhere"

    def test_stray_names_are_not_listed(self, backend: Backend) -> None:
        """Temporary files and what people leave in the folder are no snapshots (restic issue 1641)."""
        for kind in LISTED_KINDS:
            (handle,) = save_all(backend, kind, [kind.value.encode()])
            self.back_door_write(backend, Handle(kind, handle.name + "-tmp-12345"), b"cut")
            self.back_door_write(backend, Handle(kind, "00README.txt"), b"hello")
            assert [info.name for info in backend.list(kind)] == [handle.name]

    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_names_outside_the_format(self, backend: Backend, name: str) -> None:
        """A name out of a damaged or hostile index must not lead out of the repository."""
        backend.save(CONFIG_HANDLE, content_of(b"the config"))
        handle = Handle(FileKind.PACK, name)
        calls: list[Callable[[], object]] = [
            lambda: backend.save(handle, content_of(b"evil")),
            lambda: backend.load(handle),
            lambda: backend.load_into(handle, 0, memoryview(bytearray(4))),
            lambda: backend.stat(handle),
            lambda: backend.remove(handle),
        ]
        for call in calls:
            with pytest.raises(BackendError) as caught:
                call()
            assert caught.value.permanent
        assert list(backend.list(FileKind.PACK)) == []
        assert backend.load(CONFIG_HANDLE) == b"the config"

    def test_errors_name_the_file(self, backend: Backend) -> None:
        """The one line a user sees has to say which file it is about."""
        with pytest.raises(MissingFileError, match="5" * 64):
            backend.load(Handle(FileKind.INDEX, "5" * 64))

    # -- listing

    def test_list_all(self, backend: Backend) -> None:
        """A listing that stops after its first page loses snapshots, and prune then removes their data."""
        contents = [b"%d" % number for number in range(self.listed_files)]
        with ThreadPoolExecutor(backend.properties.connections) as pool:
            list(pool.map(lambda data: backend.save(handle_of(data), content_of(data)), contents))
        listed = [(info.name, info.size_bytes) for info in backend.list(FileKind.PACK)]
        assert sorted(listed) == sorted((handle_of(data).name, len(data)) for data in contents)

    def test_list_can_be_left_early(self, backend: Backend) -> None:
        """Looking for one snapshot stops at the first match; the backend must go on working."""
        handles = save_all(backend, FileKind.SNAPSHOT, [b"one", b"two", b"three"])
        for info in backend.list(FileKind.SNAPSHOT):
            assert info.name in {handle.name for handle in handles}
            break
        assert len(list(backend.list(FileKind.SNAPSHOT))) == 3

    def test_remove_while_listing(self, backend: Backend) -> None:
        """`unlock` removes each lock as it is listed."""
        save_all(backend, FileKind.LOCK, [b"%d" % number for number in range(20)])
        for info in backend.list(FileKind.LOCK):
            backend.remove(Handle(FileKind.LOCK, info.name))
        assert list(backend.list(FileKind.LOCK)) == []

    def test_list_while_others_write(self, backend: Backend) -> None:
        """Other machines back up meanwhile: their files may show, ours must, each once, none half-written."""
        stable = {handle.name: 4 for handle in save_all(backend, FileKind.PACK, [b"%04d" % n for n in range(30)])}
        coming = {handle_of(data).name: data for data in (some_bytes(100_000, seed=n) for n in range(30))}
        other = self.open_again(backend) or backend
        done = threading.Event()

        def write() -> None:
            try:
                for data in coming.values():
                    other.save(handle_of(data), content_of(data))
                for name in list(coming)[::2]:
                    other.remove(Handle(FileKind.PACK, name))
            finally:
                done.set()
                if other is not backend:
                    other.close()

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(write)
            while True:
                was_done = done.is_set()
                listed = [(info.name, info.size_bytes) for info in backend.list(FileKind.PACK)]
                sizes = dict(listed)
                assert len(sizes) == len(listed)
                assert stable.items() <= sizes.items()
                assert all(size == 100_000 for name, size in listed if name not in stable)
                if was_done:
                    break
            writer.result()
        assert set(sizes) == set(stable) | set(list(coming)[1::2])

    # -- many at once

    def test_concurrent_use(self, backend: Backend) -> None:
        """One instance serves all threads; a shared connection or buffer mixes up bodies."""
        contents = [some_bytes(1_000 + 997 * number, seed=number) for number in range(40)]

        def work(number: int) -> None:
            data = contents[number]
            handle = handle_of(data)
            backend.save(handle, content_of(data))
            for _ in range(3):
                assert backend.load(handle) == data
                assert backend.load(handle, number, 500) == data[number : number + 500]
                assert backend.stat(handle).size_bytes == len(data)
            if number % 2:
                backend.remove(handle)
                with pytest.raises(MissingFileError):
                    backend.load(handle)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(len(contents))))
        assert {info.name for info in backend.list(FileKind.PACK)} == {handle_of(data).name for data in contents[::2]}

    def test_same_file_saved_at_once(self, backend: Backend) -> None:
        """Two threads may save one index; the file is whole, whoever wins."""
        data = some_bytes(300_000)
        handle = handle_of(data)
        start = threading.Barrier(6)

        def save() -> BackendError | None:
            start.wait()
            return _outcome(lambda: backend.save(handle, content_of(data)))[0]

        with ThreadPoolExecutor(6) as pool:
            results = [future.result() for future in [pool.submit(save) for _ in range(6)]]
        assert None in results
        if backend.properties.atomic_replace:
            assert results == [None] * 6
        assert backend.load(handle) == data
        assert [info.name for info in backend.list(FileKind.PACK)] == [handle.name]

    def test_second_instance(self, backend: Backend) -> None:
        """What one process saved another one sees at once: locks depend on that."""
        other = self._open_again(backend)
        try:
            (handle,) = save_all(backend, FileKind.LOCK, [b"a lock"])
            assert [info.name for info in other.list(FileKind.LOCK)] == [handle.name]
            assert other.load(handle) == b"a lock"
            other.remove(handle)
            assert list(backend.list(FileKind.LOCK)) == []
        finally:
            other.close()

    # -- a store that refuses, and one that is not there

    def test_wrong_credentials(self, backend: Backend) -> None:
        """A mistyped password is told at once and as what it is: retried it locks the account, taken for a missing
        repository it makes people run `init`.
        """
        (handle,) = self._saved_with_config(backend)
        other = _or_skip(self.open_with_wrong_credentials(backend), "there are no credentials")
        calls: list[Callable[[], object]] = [
            lambda: other.stat(CONFIG_HANDLE),
            lambda: other.load(handle),
            lambda: list(other.list(FileKind.SNAPSHOT)),
            lambda: other.save(handle_of(b"another"), content_of(b"another")),
            lambda: other.remove(handle),
        ]
        try:
            for call in calls:
                error = self._refusal(call)
                assert error.permanent, error
                assert not isinstance(error, MissingFileError), error
        finally:
            other.close()
        assert backend.load(handle) == b"a snapshot"

    def test_missing_store(self, backend: Backend) -> None:
        """A mistyped bucket is no empty repository that is waited for."""
        self._saved_with_config(backend)
        other = _or_skip(self.open_missing_store(backend), "a store is always there")
        try:
            for call in (lambda: other.stat(CONFIG_HANDLE), lambda: other.load(CONFIG_HANDLE)):
                assert self._refusal(call).permanent
            failure, listed = _outcome(lambda: list(other.list(FileKind.SNAPSHOT)))
            assert not listed
            assert failure is None or failure.permanent, failure
        finally:
            other.close()

    def test_nothing_listens(self, backend: Backend) -> None:
        """A server that restarts is waited for, by its name; it is no missing repository."""
        other = _or_skip(self.open_where_nothing_listens(backend), "there is no network")
        handle = handle_of(b"a pack")
        calls: list[Callable[[], object]] = [
            lambda: other.stat(CONFIG_HANDLE),
            lambda: other.load(handle, 0, 1),
            lambda: list(other.list(FileKind.SNAPSHOT)),
            lambda: other.save(handle, content_of(b"a pack")),
        ]
        try:
            for call in calls:
                error = self._refusal(call)
                assert not error.permanent, error
                assert "127.0.0.1" in str(error) or "localhost" in str(error), error
        finally:
            other.close()

    def test_read_only(self, backend: Backend) -> None:
        """A key that may only read restores and checks; what it may not is told at once, and leaves everything."""
        (handle,) = self._saved_with_config(backend)
        other = _or_skip(self.open_read_only(backend), "who may read may write")
        try:
            assert other.load(handle) == b"a snapshot"
            assert other.load(handle, 2, 4) == b"snap"
            assert other.stat(CONFIG_HANDLE).size_bytes == len(b"the config")
            assert [info.name for info in other.list(FileKind.SNAPSHOT)] == [handle.name]
            for call in (
                lambda: other.save(handle_of(b"another"), content_of(b"another")),
                lambda: other.remove(handle),
            ):
                error = self._refusal(call)
                assert error.permanent, error
                assert not isinstance(error, MissingFileError), error
        finally:
            other.close()
        assert backend.load(handle) == b"a snapshot"
        assert list(backend.list(FileKind.PACK)) == []

    # -- interruptions

    def test_content_that_fails(self, backend: Backend) -> None:
        """A save that breaks off in the middle leaves no file behind, be it under its name or in a listing."""
        data = some_bytes(MIB)
        handle = handle_of(data)
        view = memoryview(data)
        broken = Content(view, hashlib.sha256(data).digest())
        view.release()
        with pytest.raises((LimpetError, ValueError)):
            backend.save(handle, broken)
        assert list(backend.list(FileKind.PACK)) == []
        with pytest.raises(MissingFileError):
            backend.stat(handle)
        backend.save(handle, content_of(data))
        assert backend.load(handle) == data

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_killed_while_saving(self, backend: Backend) -> None:
        """Power fails in mid-save: every file that is listed afterwards is whole, and saving goes on."""
        self._open_again(backend).close()
        fork = multiprocessing.get_context("fork")
        for round_number in range(6):
            child = fork.Process(target=self._save_for_ever, args=(backend, round_number), daemon=True)
            child.start()
            time.sleep(0.01 + 0.017 * round_number)
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        for info in backend.list(FileKind.PACK):
            handle = Handle(FileKind.PACK, info.name)
            assert hashlib.sha256(backend.load(handle)).hexdigest() == info.name
        data = some_bytes(2 * MIB, seed=0)
        if handle_of(data).name in {info.name for info in backend.list(FileKind.PACK)}:
            backend.remove(handle_of(data))
        backend.save(handle_of(data), content_of(data))
        assert backend.load(handle_of(data)) == data

    # -- the end

    def test_sweep(self, backend: Backend) -> None:
        """What broken-off saves have left may go, and nothing that was stored."""
        backend.save(CONFIG_HANDLE, content_of(b"the config"))
        handles = [handle for kind in LISTED_KINDS for handle in save_all(backend, kind, [b"one", b"two"])]
        assert backend.sweep() >= 0
        assert backend.sweep() == 0
        assert all(backend.load(handle) in {b"one", b"two"} for handle in handles)
        assert backend.load(CONFIG_HANDLE) == b"the config"

    def test_delete(self, backend: Backend) -> None:
        """Nothing of the repository is left, and a new one can be made in its place."""
        backend.save(CONFIG_HANDLE, content_of(b"the config"))
        for kind in LISTED_KINDS:
            save_all(backend, kind, [b"one", b"two"])
        backend.delete()
        backend.create()
        for kind in LISTED_KINDS:
            assert list(backend.list(kind)) == []
        with pytest.raises(MissingFileError):
            backend.stat(CONFIG_HANDLE)
        (handle,) = save_all(backend, FileKind.KEY, [b"a new key"])
        assert backend.load(handle) == b"a new key"

    def _save_for_ever(self, backend: Backend, round_number: int) -> None:
        other = self._open_again(backend)
        for number in range(1_000_000):
            data = some_bytes(2 * MIB, seed=round_number * 1000 + number)
            other.save(handle_of(data), content_of(data))

    def _open_again(self, backend: Backend) -> Backend:
        return _or_skip(self.open_again(backend), "the store lives in this instance alone")

    def _handle_to_overwrite(self) -> Handle:
        return CONFIG_HANDLE if self.names_are_checked else handle_of(b"the name of both")

    def _saved_with_config(self, backend: Backend) -> list[Handle]:
        """The handle of a snapshot that was saved beside a config."""
        backend.save(CONFIG_HANDLE, content_of(b"the config"))
        return save_all(backend, FileKind.SNAPSHOT, [b"a snapshot"])

    def _refusal(self, call: Callable[[], object]) -> BackendError:
        """The error of the call, which is one plain line without a secret."""
        with pytest.raises(BackendError) as caught:
            call()
        message = str(caught.value)
        assert message.strip()
        assert "\n" not in message
        assert not [secret for secret in self.secrets if secret in message]
        return caught.value


def _or_skip(other: Backend | None, reason: str) -> Backend:
    if other is None:
        pytest.skip(reason)
    return other


def _large_content(size_bytes: int) -> tuple[bytearray, Handle]:
    """Content of which no two MiB are the same, made quickly and held once; its handle."""
    data = bytearray(size_bytes)
    block = some_bytes(MIB)
    for start in range(0, size_bytes, MIB):
        end = min(start + MIB, size_bytes)
        data[start:end] = block[: end - start]
        data[start : start + 8] = start.to_bytes(8, "big")
    return data, Handle(FileKind.PACK, hashlib.sha256(data).hexdigest())


def _save_at_once(backends: Sequence[Backend], handle: Handle, contents: Sequence[bytes]) -> list[BackendError | None]:
    """Each backend saves its content under the one handle, all in the same moment; the errors, all permanent.

    A server that is in its own way for a moment says so: that save is tried again, as the core does.
    """
    start = threading.Barrier(len(backends))

    def save(backend: Backend, data: bytes) -> BackendError | None:
        start.wait()
        for _ in range(TRIES_OF_A_SAVE):
            error, _nothing = _outcome(lambda: backend.save(handle, content_of(data)))
            if error is None or error.permanent:
                return error
        raise AssertionError(error)

    with ThreadPoolExecutor(len(backends)) as pool:
        return list(pool.map(save, backends, contents))


def _outcome(call: Callable[[], T]) -> tuple[BackendError | None, T | None]:
    try:
        return None, call()
    except BackendError as error:
        return error, None

"""Ranges, files that are missing or damaged, and names that are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from limpet.contracts.backend import CONFIG_HANDLE, Backend, FileKind, Handle
from limpet.errors import BackendError, MissingFileError
from limpet.testing.backend.contents import LISTED_KINDS, content_of, handle_of, save_all, some_bytes
from limpet.testing.backend.store import StoreUnderTest

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


class Read(StoreUnderTest):
    """Reading parts, and what is not there or not as it was."""

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

"""Repositories made and opened, and the sealed files in them."""

from __future__ import annotations

import os
from hashlib import sha256

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, Content, FileKind, Handle
from limpet.errors import IntegrityError, NoRepositoryError, RepositoryError, WrongPasswordError
from limpet.format.compression import Level
from limpet.format.config import encode_config
from limpet.format.crypto import Box
from limpet.ids import StorageId
from limpet.repository.repository import Repository, RepositorySettings
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import RecordingBackend
from limpet.testing.backups import cheap_kdf

PASSWORD = "of a test"
JSON = b'{"a":"' + b"long " * 1000 + b'"}'


def create(backend: MemoryBackend, version: int = 2, level: Level = Level.AUTO) -> Repository:
    """A repository that opens at once."""
    settings = RepositorySettings(compression=level)
    return Repository.create(backend, PASSWORD, version=version, kdf=cheap_kdf(), settings=settings)


def put(backend: MemoryBackend, handle: Handle, data: bytes) -> None:
    """Replace what is stored."""
    backend.files[handle] = data


class TestOpening:
    """From a storage to a repository."""

    def test_nothing_there(self) -> None:
        """A mistyped location must not look like a wrong password, nor be made a repository."""
        backend = MemoryBackend()
        with pytest.raises(NoRepositoryError, match="does not exist"):
            Repository.open(backend, PASSWORD)
        assert backend.files == {}

    def test_wrong_password(self) -> None:
        """Said as such: exit code 12, and never the password."""
        backend = MemoryBackend()
        create(backend)
        with pytest.raises(WrongPasswordError) as told:
            Repository.open(backend, "another one")
        assert "another one" not in str(told.value)

    def test_two_repositories_in_one_place(self) -> None:
        """The second would overwrite the first's config: all data lost."""
        backend = MemoryBackend()
        create(backend)
        before = dict(backend.files)
        with pytest.raises(RepositoryError, match="already exists"):
            create(backend)
        del backend.files[CONFIG_HANDLE]
        with pytest.raises(RepositoryError, match="keys of another repository"):
            create(backend)
        backend.files[CONFIG_HANDLE] = before[CONFIG_HANDLE]
        assert backend.files == before

    def test_config_comes_last(self) -> None:
        """A place that has a config and no key could never be opened again."""
        backend = RecordingBackend(MemoryBackend())
        Repository.create(backend, PASSWORD, kdf=cheap_kdf())
        assert [call.kind for call in backend.calls if call.operation.value == "save"] == [
            FileKind.KEY,
            FileKind.CONFIG,
        ]

    @pytest.mark.parametrize("version", [0, 3])
    def test_unknown_version(self, version: int) -> None:
        """A format of the future must be refused, not guessed at."""
        backend = MemoryBackend()
        with pytest.raises(RepositoryError, match="unknown"):
            Repository.create(backend, PASSWORD, version=version, kdf=cheap_kdf())
        repository = create(backend)
        config = encode_config(repository.config).replace(b'"version":2', b'"version":%d' % version)
        put(backend, CONFIG_HANDLE, Box(repository.key).seal(config))
        with pytest.raises((RepositoryError, IntegrityError)):
            Repository.open(backend, PASSWORD)

    @pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:20], lambda data: b"x" * len(data)])
    def test_damaged_config(self, damage: type) -> None:
        """With another polynomial or version in it everything would go wrong quietly."""
        backend = MemoryBackend()
        create(backend)
        put(backend, CONFIG_HANDLE, bytes(damage(backend.files[CONFIG_HANDLE])))
        with pytest.raises(IntegrityError, match="config is damaged"):
            Repository.open(backend, PASSWORD)

    def test_secrets_are_not_shown(self) -> None:
        """Keys and passwords in a traceback end up in bug reports."""
        repository = create(MemoryBackend())
        shown = repr(repository.key) + repr(repository) + repr(repository.config)
        for secret in (repository.key.encrypt, repository.key.mac_k, repository.key.mac_r):
            assert secret.hex() not in shown
            assert repr(secret) not in shown


class TestFiles:
    """Indexes, snapshots and locks."""

    @pytest.mark.parametrize("level", Level)
    @pytest.mark.parametrize("version", [1, 2])
    def test_round_trip(self, version: int, level: Level) -> None:
        """What was saved is what is loaded; version 1 knows no compression."""
        backend = MemoryBackend()
        repository = create(backend, version, level)
        file_id = repository.save_unpacked(FileKind.SNAPSHOT, JSON)
        assert Repository.open(backend, PASSWORD).load_unpacked(FileKind.SNAPSHOT, file_id) == JSON
        size = len(backend.files[Handle(FileKind.SNAPSHOT, file_id.hex())])
        assert (size == len(JSON) + 32) == (version == 1)

    def test_damaged_file(self) -> None:
        """Wrong bytes have to be named, not parsed."""
        backend = MemoryBackend()
        repository = create(backend)
        file_id = repository.save_unpacked(FileKind.SNAPSHOT, JSON)
        handle = Handle(FileKind.SNAPSHOT, file_id.hex())
        damaged = bytearray(backend.files[handle])
        damaged[len(damaged) // 2] ^= 1
        put(backend, handle, bytes(damaged))
        with pytest.raises(IntegrityError, match=f"snapshots/{file_id.hex()} is damaged"):
            repository.load_unpacked(FileKind.SNAPSHOT, file_id)

    def test_sealed_with_another_key(self) -> None:
        """A file from another repository has the right name all the same."""
        repository, other = create(MemoryBackend()), create(MemoryBackend())
        sealed = Box(other.key).seal(JSON)
        file_id = StorageId(sha256(sealed).digest())
        repository.backend.save(Handle(FileKind.SNAPSHOT, file_id.hex()), Content(memoryview(sealed), file_id))
        with pytest.raises(IntegrityError, match="is damaged"):
            repository.load_unpacked(FileKind.SNAPSHOT, file_id)

    def test_one_bad_transfer(self) -> None:
        """A bit that fell over on the way once must not end a run."""
        inner = MemoryBackend()
        repository = create(inner)
        file_id = repository.save_unpacked(FileKind.SNAPSHOT, JSON)

        class Once(RecordingBackend):
            """Gives wrong bytes the first time."""

            tried = False

            def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
                data = super().load(handle, offset_bytes, length_bytes)
                if handle.kind is FileKind.SNAPSHOT and not self.tried:
                    self.tried = True
                    return os.urandom(len(data))
                return data

        assert Repository.open(Once(inner), PASSWORD).load_unpacked(FileKind.SNAPSHOT, file_id) == JSON

    def test_damaged_index_is_told_and_the_others_are_used(self) -> None:
        """One bad index file must not hide all the others."""
        backend = MemoryBackend()
        repository = create(backend)
        good = b'{"packs":[{"id":"%b","blobs":[{"id":"%b","type":"data","offset":0,"length":40}]}]}\n' % (
            b"11" * 32,
            b"22" * 32,
        )
        repository.save_unpacked(FileKind.INDEX, good)
        bad = repository.save_unpacked(FileKind.INDEX, good.replace(b"11", b"33"))
        put(backend, Handle(FileKind.INDEX, bad.hex()), b"nonsense")
        told: list[str] = []

        class Told(type(repository.settings.reporter)):  # type: ignore[misc]
            """Keeps the items."""

            def error(self, error: Exception, *, during: str, item: str) -> None:
                told.append(item)

        again = Repository.open(backend, PASSWORD)
        again.load_index(Told())
        again.load_index(Told())
        assert told == [bad.hex()]
        assert len(again.index) == 1

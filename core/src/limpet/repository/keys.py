"""The keys of a repository: each opens the same master key with a password of its own."""

from __future__ import annotations

import getpass
import os
import socket
import time
from dataclasses import dataclass
from hashlib import sha256

from limpet.contracts.backend import Backend, Content, FileKind, Handle
from limpet.errors import IntegrityError, MissingFileError, RepositoryError, WrongPasswordError
from limpet.format.crypto import MasterKey
from limpet.format.kdf import KdfParameters, calibrate
from limpet.format.keyfile import KeyFile, decode_keyfile, encode_keyfile, seal_master_key
from limpet.format.timestamps import Time
from limpet.ids import StorageId, parse_storage_id, short
from limpet.repository.prefixes import find_file

try:
    import pwd
except ImportError:  # not a POSIX system
    pwd = None  # type: ignore[assignment]

MAX_KEYS_TRIED = 20
"""Each try costs half a second of scrypt, so a repository with many keys wants a hint."""


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """A key that a password opened."""

    key_id: StorageId
    master_key: MasterKey
    keyfile: KeyFile


def create_key(
    backend: Backend,
    password: str,
    master_key: MasterKey,
    *,
    parameters: KdfParameters | None = None,
    hostname: str = "",
    username: str = "",
) -> StorageId:
    """The id of a new, stored key that opens `master_key` with the password. Takes a second.

    Without parameters they are chosen so that opening takes half a second on this machine.
    """
    parameters = parameters or calibrate(time.perf_counter)
    keyfile = KeyFile(
        created=Time(time.time_ns()),
        username=username or current_user(),
        hostname=hostname or socket.gethostname(),
        kdf=parameters,
        data=seal_master_key(master_key, password, parameters),
    )
    stored = encode_keyfile(keyfile)
    key_id = StorageId(sha256(stored).digest())
    backend.save(_handle(key_id), Content(memoryview(stored), key_id))
    return key_id


def open_key(backend: Backend, password: str, *, hint: str | None = None, max_keys: int = MAX_KEYS_TRIED) -> OpenedKey:
    """The first key that the password opens: the one whose id starts with `hint`, then all others by id.

    WrongPasswordError if none does. Damaged keys are passed over; if nothing else is left their error is raised.
    RepositoryError once `max_keys` were tried in vain (0: try all).
    """
    ids = key_ids(backend)
    hinted = [key_id for key_id in ids if hint and key_id.hex().startswith(hint)]
    if len(hinted) == 1:
        ids = hinted + [key_id for key_id in ids if key_id != hinted[0]]
    damage: Exception | None = None
    for number, key_id in enumerate(ids):
        if max_keys and number >= max_keys:
            raise RepositoryError(
                f"none of the first {max_keys} keys opens with the password; name the right one with --key-hint"
            )
        try:
            keyfile = load_key(backend, key_id)
            return OpenedKey(key_id, keyfile.open(password), keyfile)
        except (WrongPasswordError, MissingFileError):
            continue
        except (IntegrityError, RepositoryError) as error:
            damage = error
    if damage is not None:
        raise damage
    raise WrongPasswordError("wrong password or no key found")


def key_ids(backend: Backend) -> list[StorageId]:
    """The ids of all stored keys, sorted."""
    return sorted(parse_storage_id(info.name) for info in backend.list(FileKind.KEY))


def load_key(backend: Backend, key_id: StorageId) -> KeyFile:
    """The stored key; IntegrityError or RepositoryError naming it if it is damaged or of an unknown kind."""
    stored = backend.load(_handle(key_id))
    try:
        if sha256(stored).digest() != key_id:
            raise IntegrityError("its bytes do not have the hash that its name says")
        return decode_keyfile(stored)
    except (IntegrityError, RepositoryError) as error:
        raise error.saying(f"key {short(key_id)} cannot be used: {error}") from error


def find_key(backend: Backend, prefix: str) -> StorageId:
    """The only key whose id starts with the hex digits; RepositoryError for none or several."""
    return find_file(backend, FileKind.KEY, prefix)


def remove_key(backend: Backend, key_id: StorageId, *, current: StorageId) -> None:
    """Remove the key; RepositoryError if it is the one in use, MissingFileError if there is none."""
    if key_id == current:
        raise RepositoryError("refusing to remove key currently used to access repository")
    backend.remove(_handle(key_id))


def current_user() -> str:
    """The account's name, not what an environment variable says; empty where it has none, as in some containers."""
    try:
        return getpass.getuser() if pwd is None else pwd.getpwuid(os.getuid()).pw_name
    except (OSError, KeyError, ImportError):
        return ""


def _handle(key_id: StorageId) -> Handle:
    return Handle(FileKind.KEY, key_id.hex())

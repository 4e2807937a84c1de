"""Keys: several passwords for one master key, hints, damage."""

from __future__ import annotations

from hashlib import sha256

import pytest
from limpet.contracts.backend import Content, FileKind, Handle
from limpet.errors import IntegrityError, MissingFileError, RepositoryError, WrongPasswordError
from limpet.format.crypto import MasterKey
from limpet.format.kdf import KdfParameters
from limpet.repository.keys import create_key, find_key, key_ids, load_key, open_key, remove_key
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import RecordingBackend

CHEAP = KdfParameters(n=16, r=1, p=1, salt=bytes(64))


def add(backend: MemoryBackend, password: str, key: MasterKey) -> bytes:
    """A cheap key."""
    return create_key(backend, password, key, parameters=CHEAP, hostname="h", username="u")


def test_each_password_opens_the_same_master_key() -> None:
    """A second password would open nothing, or another repository."""
    backend, master = MemoryBackend(), MasterKey.generate()
    ids = {password: add(backend, password, master) for password in ("one", "zwei", "")}
    for password, key_id in ids.items():
        opened = open_key(backend, password)
        assert (opened.key_id, opened.master_key) == (key_id, master)
        assert (opened.keyfile.hostname, opened.keyfile.username) == ("h", "u")
    assert key_ids(backend) == sorted(ids.values())
    with pytest.raises(WrongPasswordError):
        open_key(backend, "drei")


def test_user_and_host_are_filled_in() -> None:
    """Nobody could tell whose key it is before removing it."""
    backend = MemoryBackend()
    keyfile = load_key(backend, create_key(backend, "x", MasterKey.generate(), parameters=CHEAP))
    assert keyfile.username
    assert keyfile.hostname
    assert keyfile.created.ns > 1_600_000_000 * 10**9


def test_the_hinted_key_is_tried_first_and_alone() -> None:
    """With many keys opening would take half a second for each of them."""
    inner, master = MemoryBackend(), MasterKey.generate()
    ids = [add(inner, f"p{number}", master) for number in range(6)]
    backend = RecordingBackend(inner)
    assert open_key(backend, "p5", hint=ids[5].hex()[:12]).key_id == ids[5]
    loads = [call for call in backend.calls if "load" in str(call).lower()]
    assert len(loads) == 1
    assert open_key(backend, "p2", hint="ffff" + ids[5].hex()).key_id == ids[2]


def test_only_so_many_keys_are_tried() -> None:
    """Somebody could keep a machine busy for hours by storing thousands of keys."""
    backend, master = MemoryBackend(), MasterKey.generate()
    for number in range(5):
        add(backend, f"p{number}", master)
    with pytest.raises(RepositoryError, match="none of the first 3 keys"):
        open_key(backend, "wrong", max_keys=3)
    with pytest.raises(WrongPasswordError):
        open_key(backend, "wrong", max_keys=0)


@pytest.mark.parametrize("damage", [b"", b"{}", b"\x00" * 40, b'{"kdf":"argon2"}', None])
def test_a_damaged_key_does_not_hide_the_sound_one(damage: bytes | None) -> None:
    """One flipped bit in a key that nobody uses would lock everybody out."""
    backend, master = MemoryBackend(), MasterKey.generate()
    bad = add(backend, "bad", master)
    add(backend, "good", master)
    handle = Handle(FileKind.KEY, bad.hex())
    stored = damage if damage is not None else backend.load(handle).replace(b'"u"', b'"v"')
    backend.remove(handle)
    backend.save(handle, Content(memoryview(stored), sha256(stored).digest()))
    assert open_key(backend, "good").master_key == master
    with pytest.raises((IntegrityError, RepositoryError), match=bad.hex()[:8]):
        open_key(backend, "bad")


def test_removing() -> None:
    """The key in use could be removed, or a prefix could remove the wrong one."""
    backend, master = MemoryBackend(), MasterKey.generate()
    first, second = add(backend, "a", master), add(backend, "b", master)
    with pytest.raises(RepositoryError, match="currently used"):
        remove_key(backend, open_key(backend, "a").key_id, current=open_key(backend, "a").key_id)
    found = find_key(backend, second.hex()[:20])
    remove_key(backend, found, current=open_key(backend, "a").key_id)
    assert [bytes(key_id) for key_id in key_ids(backend)] == [first]
    with pytest.raises(MissingFileError):
        remove_key(backend, found, current=open_key(backend, "a").key_id)
    with pytest.raises(RepositoryError, match="no matching ID"):
        find_key(backend, "zz")
    add(backend, "c", master)
    with pytest.raises(RepositoryError, match="multiple IDs"):
        find_key(backend, "")

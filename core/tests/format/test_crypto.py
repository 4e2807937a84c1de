"""Sealing against published vectors, and that no changed byte ever opens."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from limpet.errors import IntegrityError
from limpet.format.crypto import IV_SIZE, SEAL_OVERHEAD, Box, MasterKey

KEY = MasterKey(bytes(range(32)), bytes(range(100, 116)), bytes(range(200, 216)))
plaintexts = st.binary(max_size=300) | st.integers(0, 200_000).map(lambda size: b"limpet." * (size // 7))


# Appendix B of "The Poly1305-AES message-authentication code": message, k, r, nonce, tag.
POLY1305_AES = [
    (
        "f3f6",
        "ec074c835580741701425b623235add6",
        "851fc40c3467ac0be05cc20404f3f700",
        "fb447350c4e868c52ac3275cf9d4327e",
        "f4c633c3044fc145f84f335cb81953de",
    ),
    (
        "",
        "75deaa25c09f208e1dc4ce6b5cad3fbf",
        "a0f3080000f46400d0c7e9076c834403",
        "61ee09218d29b0aaed7e154a2c5509cc",
        "dd3fab2251f11ac759f0887129cc2ee7",
    ),
    (
        "663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136",
        "6acb5f61a7176dd320c5c1eb2edcdc74",
        "48443d0bb0d21109c89a100b5ce2c208",
        "ae212a55399729595dea458bc621ff0e",
        "0ee1c16bb73f0f4fd19881753c01cdbe",
    ),
]


@pytest.mark.parametrize(("message", "k", "r", "nonce", "tag"), POLY1305_AES)
def test_tag_is_poly1305_aes(message: str, k: str, r: str, nonce: str, tag: str) -> None:
    """A tag computed otherwise, and no other program could open what we seal."""
    box = Box(MasterKey(b"e" * 32, bytes.fromhex(k), bytes.fromhex(r)))
    assert len(box.open(bytes.fromhex(nonce + message + tag))) == len(message) // 2


def test_cipher_is_aes_256_in_counter_mode() -> None:
    """Another counter or key size, and every byte of a backup would be unreadable to restic."""
    # NIST SP 800-38A, section F.5.5, authenticated by a tag computed here.
    key = MasterKey(
        bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"), KEY.mac_k, KEY.mac_r
    )
    iv = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    ciphertext = bytes.fromhex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5")
    sealed = iv + ciphertext + _tag(key, iv, ciphertext)
    assert Box(key).open(sealed).hex() == "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"


@given(plaintexts)
def test_open_undoes_seal(plaintext: bytes) -> None:
    """Data that is sealed and does not open again is lost."""
    box = Box(KEY)
    sealed = box.seal(plaintext)
    assert len(sealed) == len(plaintext) + SEAL_OVERHEAD
    assert box.open(sealed) == Box(KEY).open(bytearray(sealed)) == plaintext


@given(plaintexts, st.integers(0, 20))
def test_into_buffers_is_the_same_and_stays_within(plaintext: bytes, spare: int) -> None:
    """The hot path's reused buffers would corrupt their neighbours' bytes."""
    box = Box(KEY)
    buffer = bytearray(b"\xaa" * (len(plaintext) + SEAL_OVERHEAD + spare))
    written = box.seal_into(memoryview(plaintext), memoryview(buffer))
    assert written == len(plaintext) + SEAL_OVERHEAD
    assert buffer[written:] == b"\xaa" * spare
    out = bytearray(b"\xbb" * (len(plaintext) + spare))
    assert box.open_into(memoryview(buffer)[:written], memoryview(out)) == len(plaintext)
    assert out == plaintext + b"\xbb" * spare


@given(plaintexts.filter(len))
def test_too_small_buffers_are_refused(plaintext: bytes) -> None:
    """A short buffer must not end in cut data that looks sealed."""
    box = Box(KEY)
    with pytest.raises(ValueError, match="needs room"):
        box.seal_into(plaintext, memoryview(bytearray(len(plaintext) + SEAL_OVERHEAD - 1)))
    with pytest.raises(ValueError, match="at least"):
        box.open_into(box.seal(plaintext), memoryview(bytearray(len(plaintext) - 1)))


def test_each_seal_has_its_own_iv() -> None:
    """A repeated IV would give away the difference of two plaintexts."""
    box = Box(KEY)
    assert len({box.seal(b"the same")[:IV_SIZE] for _ in range(1000)}) == 1000


@given(st.binary(max_size=100), st.data())
def test_any_changed_bit_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    """A flipped bit that opens would be restored as if it were the user's data."""
    box = Box(KEY)
    sealed = bytearray(box.seal(plaintext))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    out = bytearray(len(plaintext))
    with pytest.raises(IntegrityError):
        box.open_into(sealed, memoryview(out))
    assert out == bytes(len(plaintext)), "nothing may be decrypted before the tag is verified"
    assert box.open(box.seal(plaintext)) == plaintext, "a failure must not leave the contexts in a bad state"


@given(st.binary(max_size=100), st.data())
def test_cut_data_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    """A shortened file must never pass for a shorter plaintext."""
    sealed = Box(KEY).seal(plaintext)
    with pytest.raises(IntegrityError):
        Box(KEY).open(sealed[: data.draw(st.integers(0, len(sealed) - 1))])


def test_another_key_does_not_open() -> None:
    """A repository's data would open with any key."""
    with pytest.raises(IntegrityError):
        Box(MasterKey.generate()).open(Box(KEY).seal(b"secret"))


@pytest.mark.parametrize("sizes", [(31, 16, 16), (32, 15, 16), (32, 16, 17), (0, 0, 0)])
def test_keys_of_wrong_size_are_refused(sizes: tuple[int, int, int]) -> None:
    """A short key would seal with less protection than promised."""
    with pytest.raises(ValueError, match="32, 16 and 16"):
        MasterKey(*(b"x" * size for size in sizes))


@pytest.mark.parametrize("part", range(3))
def test_keys_of_zeros_are_refused(part: int) -> None:
    """A key file that decoded to nothing must not seal data with a known key."""
    parts = [b"x" * 32, b"x" * 16, b"x" * 16]
    parts[part] = bytes(len(parts[part]))
    with pytest.raises(ValueError, match="zeros"):
        MasterKey(*parts)


def test_keys_stay_out_of_messages() -> None:
    """A traceback or log line with the master key would open the whole repository."""
    shown = repr(KEY) + str(KEY) + repr(Box(KEY)) + f"{[KEY]}"
    for part in (KEY.encrypt, KEY.mac_k, KEY.mac_r):
        assert part.hex() not in shown
        assert repr(part)[2:-1] not in shown


def _tag(key: MasterKey, iv: bytes, ciphertext: bytes) -> bytes:
    """Poly1305-AES by its definition, in plain integers and one block of ECB."""

    r = int.from_bytes(key.mac_r, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    s = Cipher(algorithms.AES(key.mac_k), modes.ECB()).encryptor().update(iv)
    accumulator = 0
    for start in range(0, len(ciphertext), 16):
        block = int.from_bytes(ciphertext[start : start + 16] + b"\x01", "little")
        accumulator = (accumulator + block) * r % (2**130 - 5)
    return ((accumulator + int.from_bytes(s, "little")) % 2**128).to_bytes(16, "little")

"""The cipher for short blobs in C and its twin by OpenSSL: the same bytes, whatever the length, key and counter."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.format import _cipher_py, _native, native

Cipher: TypeAlias = _native.BlobCipher | _cipher_py.BlobCipher
IS_SUPPORTED = hasattr(_native, "BlobCipher")
MAKE: list[Callable[[bytes, bytes, bytes], Cipher]] = [
    _cipher_py.BlobCipher,
    *([_native.BlobCipher] if IS_SUPPORTED else []),
]
PARTS = (bytes(range(32)), bytes(range(100, 116)), bytes(range(200, 216)))

# Bytes of one value run the sums of the tag into all carries; lengths go around the 16 and 128 bytes worked on at once.
KEYS = st.tuples(*(st.binary(min_size=n, max_size=n) | st.just(b"\xff" * n) for n in (32, 16, 16)))
IVS = st.binary(min_size=16, max_size=16) | st.integers(0, 20).map(lambda n: (2**128 - 1 - n).to_bytes(16, "big"))
MESSAGES = st.one_of(
    st.binary(max_size=300),
    st.tuples(st.integers(0, 600), st.sampled_from([0, 0xFF, 0xFB])).map(lambda shape: bytes([shape[1]]) * shape[0]),
    st.integers(0, 10_000).map(lambda size: random.Random(size).randbytes(size)),
)
# The counter's lower half overflows, the upper one must take it over.
HALF_FULL_IV = bytes(7) + b"\x01" + b"\xff" * 8


def _sealed(cipher: Cipher, iv: bytes, message: bytes) -> bytes:
    out = bytearray(len(message) + 32)
    cipher.seal_into(iv, message, out)
    return bytes(out)


def test_the_processor_decides_which_is_used() -> None:
    """The slow one chosen by mistake would cost a tenth of a backup of small files, the other one would crash."""
    expected = "limpet.format._native" if IS_SUPPORTED else "limpet.format._cipher_py"
    assert native.BlobCipher.__module__ == expected


@given(KEYS, IVS | st.just(HALF_FULL_IV), MESSAGES)
def test_both_seal_to_the_same_bytes(parts: tuple[bytes, bytes, bytes], iv: bytes, message: bytes) -> None:
    """A counter or a carry that is wrong once in a million blobs would make that blob unreadable to restic."""
    first, *others = [_sealed(make(*parts), iv, message) for make in MAKE]
    assert all(other == first for other in others)
    assert first[:16] == iv
    for make in MAKE:
        assert make(*parts).open(first) == make(*parts).open(memoryview(bytearray(first))) == message


@pytest.mark.parametrize("make", MAKE)
@given(message=st.binary(max_size=200), data=st.data())
def test_any_changed_bit_is_noticed(
    make: Callable[[bytes, bytes, bytes], Cipher], message: bytes, data: st.DataObject
) -> None:
    """A flipped bit that opens would be restored as if it were the user's data."""
    cipher = make(*PARTS)
    sealed = bytearray(_sealed(cipher, HALF_FULL_IV, message))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    out = bytearray(len(message))
    assert cipher.open(sealed) is None
    assert not cipher.open_into(sealed, out)
    assert out == bytes(len(message)), "nothing may be decrypted before the tag is verified"


@pytest.mark.parametrize("make", MAKE)
@given(message=MESSAGES, spare=st.integers(0, 20))
def test_buffers_are_written_at_their_start_alone(
    make: Callable[[bytes, bytes, bytes], Cipher], message: bytes, spare: int
) -> None:
    """Reused buffers hold their neighbours' bytes."""
    cipher = make(*PARTS)
    sealed = bytearray(b"\xaa" * (len(message) + 32 + spare))
    cipher.seal_into(HALF_FULL_IV, memoryview(message), memoryview(sealed))
    assert sealed[len(message) + 32 :] == b"\xaa" * spare
    out = bytearray(b"\xbb" * (len(message) + spare))
    assert cipher.open_into(memoryview(sealed)[: len(message) + 32], memoryview(out))
    assert out == message + b"\xbb" * spare


@pytest.mark.parametrize("make", MAKE)
def test_wrong_sizes_are_refused(make: Callable[[bytes, bytes, bytes], Cipher]) -> None:
    """One byte too few, and the bytes behind a buffer would be read or written."""
    cipher = make(*PARTS)
    sealed = _sealed(cipher, HALF_FULL_IV, b"message")
    for wrong in ((b"x" * 31, b"x" * 16, b"x" * 16), (b"x" * 32, b"x" * 17, b"x" * 16), (b"x" * 32, b"x" * 16, b"")):
        with pytest.raises(ValueError, match="32, 16 and 16"):
            make(*wrong)
    for size in (0, 31):
        with pytest.raises(ValueError, match="at least 32"):
            cipher.open(sealed[:size])
        with pytest.raises(ValueError, match="at least"):
            cipher.open_into(sealed[:size], bytearray(100))
    with pytest.raises(ValueError, match="at least 7"):
        cipher.open_into(sealed, bytearray(6))
    with pytest.raises(ValueError, match="at least 39"):
        cipher.seal_into(HALF_FULL_IV, b"message", bytearray(38))
    with pytest.raises(ValueError, match="an IV has 16 bytes"):
        cipher.seal_into(b"short", b"message", bytearray(39))
    for call in (lambda: cipher.open("text"), lambda: cipher.open_into(sealed, b"x" * 7)):  # type: ignore[arg-type]
        with pytest.raises((TypeError, BufferError)):
            call()

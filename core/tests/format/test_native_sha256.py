"""SHA-256 in C, two messages at a time, and its twin: always what hashlib says."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.format import Buffer, _native, _sha256_py, native

Stream: TypeAlias = _native.Sha256 | _sha256_py.Sha256
HashAll: TypeAlias = Callable[[Sequence[Buffer]], list[bytes]]
IS_SUPPORTED = hasattr(_native, "Sha256")
STREAMS: list[Callable[[], Stream]] = [_sha256_py.Sha256, *([_native.Sha256] if IS_SUPPORTED else [])]
HASH_ALL: list[HashAll] = [_sha256_py.sha256_all, *([_native.sha256_all] if IS_SUPPORTED else [])]

# Around every border of a block and of its padding, and a few of several blocks.
LENGTHS = st.one_of(st.integers(0, 200), st.sampled_from([4095, 4096, 4097, 65536, 100_001]))
MESSAGES = st.lists(st.tuples(LENGTHS, st.integers(0, 255)), max_size=7)


def _bytes_of(length: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(length)


def _digests(messages: Sequence[Buffer]) -> list[bytes]:
    return [sha256(message).digest() for message in messages]


def test_the_processor_decides_which_is_used() -> None:
    """The slow one chosen by mistake would cost a third of a backup's time, the other one would crash."""
    expected = "limpet.format._native" if IS_SUPPORTED else "limpet.format._sha256_py"
    assert native.Sha256.__module__ == expected


@pytest.mark.parametrize("hash_all", HASH_ALL)
def test_every_length_around_the_borders(hash_all: HashAll) -> None:
    """A padding that is wrong for one length in 64 damages the ids of many files."""
    messages = [_bytes_of(length, length) for length in range(300)]
    for first in range(0, 300, 60):
        for second in range(0, 300, 7):
            pair = [messages[first + second % 60], messages[second]]
            assert hash_all(pair) == _digests(pair)
    assert hash_all(messages) == _digests(messages)


@pytest.mark.parametrize("hash_all", HASH_ALL)
@given(shapes=MESSAGES)
def test_any_messages_in_any_order(hash_all: HashAll, shapes: list[tuple[int, int]]) -> None:
    """Digests that are mixed up between two messages would name blobs by each other's content."""
    messages = [_bytes_of(*shape) for shape in shapes]
    assert hash_all(messages) == _digests(messages)
    assert hash_all(tuple(map(memoryview, map(bytearray, messages)))) == _digests(messages)


@pytest.mark.parametrize("make", STREAMS)
@given(parts=MESSAGES, beside=st.lists(MESSAGES, max_size=4))
def test_a_stream_in_parts_with_others_beside_it(
    make: Callable[[], Stream], parts: list[tuple[int, int]], beside: list[list[tuple[int, int]]]
) -> None:
    """A pack's hash goes along with those of its blobs: neither may disturb the other."""
    stream, expected = make(), sha256()
    for number, shape in enumerate(parts):
        part = _bytes_of(*shape)
        expected.update(part)
        messages = [_bytes_of(*each) for each in beside[number]] if number < len(beside) else None
        if messages is None:
            stream.update(part)
        else:
            assert stream.update_beside(part, messages) == _digests(messages)
        assert stream.digest() == expected.digest()
    assert stream.digest() == expected.digest()


@pytest.mark.parametrize("make", STREAMS)
@given(parts=MESSAGES, others=MESSAGES)
def test_two_streams_at_once(
    make: Callable[[], Stream], parts: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    """Two packs are hashed together: each must get its own bytes alone."""
    first, second, expected_first, expected_second = make(), make(), sha256(), sha256()
    for shape, other_shape in zip(parts, others, strict=False):
        data, other_data = _bytes_of(*shape), _bytes_of(*other_shape)
        expected_first.update(data)
        expected_second.update(other_data)
        first.update_with(data, second, other_data)  # type: ignore[arg-type]
    assert (first.digest(), second.digest()) == (expected_first.digest(), expected_second.digest())


@pytest.mark.parametrize("make", STREAMS)
def test_only_two_streams_at_once(make: Callable[[], Stream]) -> None:
    """A stream beside itself has no order of its bytes; what is refused must change neither."""
    first, second = make(), make()
    for data, other, other_data in ((b"a", first, b"b"), (b"a", "x", b"b"), (b"a", second, "b"), (5, second, b"b")):
        with pytest.raises(TypeError):
            first.update_with(data, other, other_data)  # type: ignore[arg-type]
    assert first.digest() == second.digest() == sha256().digest()


@pytest.mark.parametrize("make", STREAMS)
def test_only_bytes_are_taken(make: Callable[[], Stream]) -> None:
    """What is no buffer must be refused without losing what the stream has."""
    stream = make()
    stream.update(b"abc")
    for wrong in ("text", 5, None):
        with pytest.raises(TypeError):
            stream.update(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            stream.update_beside(b"", [b"x", wrong])  # type: ignore[list-item]
    with pytest.raises((TypeError, BufferError, ValueError)):
        stream.update(memoryview(b"abcdef")[::2])
    assert stream.digest() == sha256(b"abc").digest()


@pytest.mark.parametrize("hash_all", HASH_ALL)
def test_only_sequences_of_bytes_are_taken(hash_all: HashAll) -> None:
    """A buffer that is held for ever could never grow again."""
    held = bytearray(b"held")
    with pytest.raises(TypeError):
        hash_all([held, "text"])  # type: ignore[list-item]
    held += b"and let go"
    with pytest.raises(TypeError):
        hash_all(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("hash_all", HASH_ALL)
def test_threads_hash_at_the_same_time(hash_all: HashAll) -> None:
    """Without the interpreter lock two calls run together; what one holds is not the other's."""
    messages = [[_bytes_of(90_000 + number, number), b"short"] for number in range(8)]
    results: dict[int, list[bytes]] = {}

    def work(number: int) -> None:
        for _ in range(20):
            results[number] = hash_all(messages[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(messages))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[number] for number in range(len(messages))] == [_digests(each) for each in messages]

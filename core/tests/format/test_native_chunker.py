"""The chunkers against each other and against restic: plain Python, portable C and each vector level."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.format import _chunker_py, _native
from limpet.format.chunker import (
    DEGREE,
    MAX_SIZE,
    MIN_SIZE,
    ZERO_CHUNK,
    Chunker,
    is_irreducible,
    random_polynomial,
)
from limpet.testing.restic import Restic

POLYNOMIAL = 0x3DA3358B4DC173
LEVELS = _native.chunker_levels()


class Sizes(TypedDict):
    """The settings of both chunkers that make tests small."""

    min_size: int
    max_size: int
    average_bits: int


def _seeded_polynomial(seed: int) -> int:
    return random_polynomial(random.Random(seed).randbytes)


POLYNOMIALS = [_seeded_polynomial(seed) for seed in range(20)]


@st.composite
def pieces(draw: st.DrawFn) -> bytes:
    """Runs of random, zero, repeated and periodic bytes, some 30 KiB together."""
    runs = draw(
        st.lists(
            st.tuples(st.sampled_from("rzcp"), st.integers(0, 2**32 - 1), st.integers(0, 9000)), min_size=1, max_size=6
        )
    )
    made = []
    for kind, seed, length in runs:
        chance = random.Random(seed)
        if kind == "r":
            made.append(chance.randbytes(length))
        elif kind == "p":
            made.append((chance.randbytes(chance.randint(1, 80)) * length)[:length])
        else:
            made.append(bytes([0 if kind == "z" else seed % 256]) * length)
    return b"".join(made)


@st.composite
def any_sizes(draw: st.DrawFn) -> Sizes:
    """From the window's size to some times the 4 KiB that the widest level needs."""
    min_size = draw(st.integers(64, 700))
    max_size = min_size + draw(st.integers(0, 9000))
    return {"min_size": min_size, "max_size": max_size, "average_bits": draw(st.integers(0, 13))}


@settings(max_examples=80, deadline=None)
@given(data=pieces(), polynomial=st.sampled_from(POLYNOMIALS), sizes=any_sizes(), is_last=st.booleans())
def test_every_level_cuts_as_plain_python(data: bytes, polynomial: int, sizes: Sizes, is_last: bool) -> None:
    """A level that cuts elsewhere would store everything anew on machines of another kind."""
    expected = _chunker_py.Chunker(polynomial, **sizes).cuts(data, is_last)
    for level in LEVELS:
        assert _native.Chunker(polynomial, level=level, **sizes).cuts(data, is_last) == expected, level


@pytest.mark.parametrize("level", LEVELS)
def test_lengths_around_the_limits(level: str) -> None:
    """The chunk at the end of a file is where off-by-one errors live."""
    data = random.Random(3).randbytes(4 * 8192)
    sizes: Sizes = {"min_size": 512, "max_size": 8192, "average_bits": 12}
    fast, plain = _native.Chunker(POLYNOMIAL, level=level, **sizes), _chunker_py.Chunker(POLYNOMIAL, **sizes)
    around = [size + step for size in (0, 64, 512, 512 + 4096, 8192, 2 * 8192) for step in range(-2, 3)]
    for length in (length for length in around if length >= 0):
        for is_last in (False, True):
            part = data[:length]
            assert fast.cuts(part, is_last) == plain.cuts(part, is_last), (length, is_last)


def test_real_sizes_with_zero_runs() -> None:
    """The sizes of the format, with the zero runs of disk images, which are cut at the smallest size."""
    chance = random.Random(5)
    data = chance.randbytes(1_500_000) + bytes(2_000_000) + b"\xff" * 700_000 + chance.randbytes(900_000)
    expected = _chunker_py.Chunker(POLYNOMIAL).cuts(data, True)
    assert sum(expected) == len(data)
    assert expected.count(MIN_SIZE) >= 3
    for level in LEVELS:
        assert _native.Chunker(POLYNOMIAL, level=level).cuts(data, True) == expected, level


def test_bytes_that_never_cut_give_the_largest_chunk() -> None:
    """Without the upper limit a file of one repeated byte would be one chunk of any size."""
    for level in LEVELS:
        chunker = _native.Chunker(POLYNOMIAL, level=level)
        assert chunker.cuts(b"\xff" * (2 * MAX_SIZE + 5), True) == [MAX_SIZE, MAX_SIZE, 5]
        assert chunker.cuts(b"\xff" * (2 * MAX_SIZE - 1), False) == [MAX_SIZE]


@settings(max_examples=30, deadline=None)
@given(data=pieces(), window=st.integers(5000, 12000), polynomial=st.sampled_from(POLYNOMIALS))
def test_windows_cut_as_the_whole(data: bytes, window: int, polynomial: int) -> None:
    """A file read in windows must get the chunks of the file read at once, or nothing would deduplicate."""
    sizes: Sizes = {"min_size": 128, "max_size": 4096, "average_bits": 10}
    for kind in (_native.Chunker, _chunker_py.Chunker):
        chunker = kind(polynomial, **sizes)
        lengths: list[int] = []
        held, start = b"", 0
        while True:
            held += data[start : start + window]
            start += window
            is_last = start >= len(data)
            found = chunker.cuts(held, is_last)
            lengths += found
            held = held[sum(found) :]
            if is_last:
                break
            assert len(held) < 4096
        assert lengths == chunker.cuts(data, True)
        assert sum(lengths) == len(data)


def test_any_contiguous_buffer() -> None:
    """The pipeline hands in slices of shared memory; a copy would cost more than the search."""
    data = random.Random(7).randbytes(3 * MIN_SIZE)
    expected = Chunker(POLYNOMIAL).cuts(data, True)
    shifted = bytearray(b"x") + data
    for kind in (_native.Chunker, _chunker_py.Chunker):
        assert kind(POLYNOMIAL).cuts(memoryview(shifted)[1:], True) == expected
        assert kind(POLYNOMIAL).cuts(b"", True) == []
        assert kind(POLYNOMIAL).cuts(b"", False) == []


def test_other_threads_run_meanwhile() -> None:
    """While the chunker searches, the sealing threads must be able to start their next call."""
    chunker = _native.Chunker(POLYNOMIAL, level="portable")
    data = random.Random(9).randbytes(96 * 1024 * 1024)

    def longest_pause_ratio() -> float:
        thread = threading.Thread(target=chunker.cuts, args=(data, True))
        times = [time.perf_counter()]
        thread.start()
        while thread.is_alive():
            times.append(time.perf_counter())
        return max(after - before for before, after in pairwise(times)) / (times[-1] - times[0])

    # With the interpreter lock held the one pause is nearly the whole time. A busy machine may need another try.
    assert any(longest_pause_ratio() < 0.7 for _ in range(5))


@pytest.mark.parametrize("kind", [_native.Chunker, _chunker_py.Chunker])
def test_impossible_settings_are_refused(kind: type[_native.Chunker]) -> None:
    """A polynomial of another degree overflows the tables; a damaged config file may hold one."""
    for polynomial in (0, 1, 0x7F, 1 << 54, 1 << 64, -POLYNOMIAL):
        with pytest.raises(ValueError, match="degree from 8 to 53"):
            kind(polynomial)
    with pytest.raises(ValueError, match="sizes"):
        kind(POLYNOMIAL, min_size=63)
    with pytest.raises(ValueError, match="sizes"):
        kind(POLYNOMIAL, max_size=MIN_SIZE - 1)
    with pytest.raises(ValueError, match="average_bits"):
        kind(POLYNOMIAL, average_bits=21)
    with pytest.raises(ValueError, match="no chunker level"):
        kind(POLYNOMIAL, level="abacus")


def test_low_degrees_use_the_portable_search() -> None:
    """restic takes any degree up to 53; the vector levels know only 53."""
    data = random.Random(11).randbytes(20000)
    for polynomial in (0x11B, 0x1002D, (1 << 31) | 9, (1 << 52) | 9):
        sizes: Sizes = {"min_size": 64, "max_size": 5000, "average_bits": 7}
        fast = _native.Chunker(polynomial, **sizes)
        assert fast.level == "portable"
        assert fast.cuts(data, True) == _chunker_py.Chunker(polynomial, **sizes).cuts(data, True)


@pytest.mark.interop
def test_cuts_are_those_of_restic(restic_any: Restic, tmp_path: Path) -> None:
    """Cut points that differ from restic's would store every file twice in a shared repository."""
    repo = tmp_path / "repo"
    data = os.urandom(9_000_000) + bytes(3_000_000) + os.urandom(2_000_000)
    (tmp_path / "file").write_bytes(data)
    restic_any.run("init", repo=repo, password="x")
    restic_any.run("backup", "file", repo=repo, password="x", cwd=tmp_path)
    polynomial = int(json.loads(restic_any.cat("config", repo=repo, password="x"))["chunker_polynomial"], 16)
    (snapshot,) = restic_any.json("snapshots", repo=repo, password="x")
    (node,) = json.loads(restic_any.cat("blob", snapshot["tree"], repo=repo, password="x"))["nodes"]

    assert is_irreducible(polynomial)
    for level in LEVELS:
        ids, start = [], 0
        for length in _native.Chunker(polynomial, level=level).cuts(data, True):
            ids.append(hashlib.sha256(data[start : start + length]).hexdigest())
            start += length
        assert ids == node["content"], level


@pytest.mark.parametrize("degree", range(1, 10))
def test_irreducible_by_trial_division(degree: int) -> None:
    """With a reducible polynomial the fingerprint loses its guarantees."""
    for polynomial in range(1 << degree, 2 << degree):
        divisible = any(_remainder(polynomial, factor) == 0 for factor in range(2, 1 << (degree // 2 + 1)))
        assert is_irreducible(polynomial) == (not divisible), bin(polynomial)


def _remainder(value: int, modulus: int) -> int:
    while value.bit_length() >= modulus.bit_length():
        value ^= modulus << (value.bit_length() - modulus.bit_length())
    return value


def test_random_polynomials() -> None:
    """restic refuses a repository whose polynomial is not irreducible; each repository gets its own."""
    made = {random_polynomial() for _ in range(3)} | set(POLYNOMIALS)
    assert len(made) == 3 + len(POLYNOMIALS)
    assert all(polynomial.bit_length() == DEGREE + 1 and is_irreducible(polynomial) for polynomial in made)
    assert not is_irreducible(0)
    assert not is_irreducible(1)


def test_the_chunk_of_zeros() -> None:
    """With a wrong id every hole of a backup would stand for some other blob, or for none."""
    assert hashlib.sha256(bytes(MIN_SIZE)).digest() == ZERO_CHUNK
    assert list(Chunker(POLYNOMIAL).cuts(memoryview(bytes(3 * MIN_SIZE)), True)) == [MIN_SIZE] * 3

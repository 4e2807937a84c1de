"""restic's content-defined chunks: the chunker and the random irreducible polynomials it works with."""

from __future__ import annotations

import os
from collections.abc import Callable

from limpet.format._chunker_py import MAX_SIZE, MIN_SIZE, WINDOW
from limpet.format.native import Chunker
from limpet.ids import BlobId

__all__ = ["DEGREE", "MAX_SIZE", "MIN_SIZE", "WINDOW", "ZERO_CHUNK", "Chunker", "is_irreducible", "random_polynomial"]

DEGREE = 53
"""Of the polynomials of new repositories: the largest prime that leaves room for a byte in 64 bits."""

ZERO_CHUNK = BlobId(bytes.fromhex("07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541"))
"""The chunk that zeros are cut into: the smallest, MIN_SIZE of them, for their fingerprint is 0."""


def random_polynomial(random_bytes: Callable[[int], bytes] = os.urandom) -> int:
    """A random irreducible polynomial over GF(2) of degree 53; bit i of the integer is the coefficient of x^i."""
    while True:
        bits = int.from_bytes(random_bytes(8), "little") & ((1 << DEGREE) - 1)
        polynomial = bits | 1 << DEGREE | 1
        if is_irreducible(polynomial):
            return polynomial


def is_irreducible(polynomial: int) -> bool:
    """Whether the polynomial over GF(2) has no factor but itself and 1, by Ben-Or's test.

    A factor of degree i divides x^(2^i) - x. Source: Gao and Panario, "Tests and constructions of irreducible
    polynomials over finite fields", 1997.
    """
    degree = polynomial.bit_length() - 1
    if degree < 1:
        return False
    power = 2  # x^(2^0)
    for _ in range(degree // 2):
        power = _square(power, polynomial)
        if _greatest_common_divisor(polynomial, power ^ 2) != 1:
            return False
    return True


def _square(value: int, modulus: int) -> int:
    """Squaring over GF(2) puts a zero between each two bits."""
    return _remainder(int(f"{value:b}", 4), modulus)


def _remainder(value: int, modulus: int) -> int:
    bits = modulus.bit_length()
    while value.bit_length() >= bits:
        value ^= modulus << (value.bit_length() - bits)
    return value


def _greatest_common_divisor(a: int, b: int) -> int:
    while b:
        a, b = b, _remainder(a, b)
    return a

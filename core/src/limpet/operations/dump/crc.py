"""The checksum of two pieces from the checksums of each: CRC-32 as zip uses it.

Source: the method of zlib's `crc32_combine`: appending n bytes multiplies by x^(8n) modulo the polynomial over GF(2).
"""

from __future__ import annotations

from functools import lru_cache

_POLYNOMIAL = 0xEDB88320  # bits reversed: the highest is x^0
_ONE = 1 << 31


def combine_crc32(first: int, second: int, second_bytes: int) -> int:
    """The CRC-32 of what has `first`, followed by `second_bytes` bytes that have `second`."""
    return _multiply(_power(second_bytes), first) ^ second


@lru_cache(256)
def _power(size_bytes: int) -> int:
    """x^(8 * size) modulo the polynomial."""
    result, square, exponent = _ONE, _ONE >> 8, size_bytes
    while exponent:
        if exponent & 1:
            result = _multiply(square, result)
        square = _multiply(square, square)
        exponent >>= 1
    return result


def _multiply(one: int, other: int) -> int:
    product, bit = 0, _ONE
    while True:
        if one & bit:
            product ^= other
            if not one & (bit - 1):
                return product
        bit >>= 1
        if not bit:
            return product
        other = other >> 1 ^ _POLYNOMIAL if other & 1 else other >> 1

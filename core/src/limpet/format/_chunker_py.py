"""The twin of `_native.Chunker` in plain Python: the tests' oracle, and the fallback without the extension.

It walks the bytes as restic's chunker does: a window of 64 bytes, zero at first but for one byte 1 pushed into it, and
the first `min_size - 64` bytes of a chunk skipped. Source: restic/chunker, after Rabin, "Fingerprinting by random
polynomials", 1981.
"""

from __future__ import annotations

from limpet.format import Buffer

WINDOW = 64
MIN_SIZE = 512 * 1024
MAX_SIZE = 8 * 1024 * 1024
AVERAGE_BITS = 20
DEGREES = range(8, 54)


class Chunker:
    """Cuts bytes into chunks where the fingerprint of the last 64 bytes ends in 20 zero bits."""

    level = "python"

    def __init__(
        self,
        polynomial: int,
        *,
        min_size: int = MIN_SIZE,
        max_size: int = MAX_SIZE,
        average_bits: int = AVERAGE_BITS,
        level: str | None = None,
    ) -> None:
        degree = polynomial.bit_length() - 1
        if polynomial < 0 or degree not in DEGREES:
            raise ValueError("the polynomial must have a degree from 8 to 53")
        if not WINDOW <= min_size <= max_size:
            raise ValueError("the sizes must be 64 <= min_size <= max_size")
        if not 0 <= average_bits <= AVERAGE_BITS:
            raise ValueError("average_bits must be from 0 to 20")
        if level not in (None, self.level):
            raise ValueError(f"this machine has no chunker level {level!r}")
        self.polynomial = polynomial
        self._min_size = min_size
        self._max_size = max_size
        self._mask = (1 << average_bits) - 1
        self._shift = degree - 8
        # What byte b adds to the fingerprint when it is 63 bytes old, to take it out again.
        self._out = [_remainder(b << 8 * (WINDOW - 1), polynomial) for b in range(256)]
        # What the 8 bits above the degree become, with themselves to cancel them.
        self._reduce = [_remainder(b << degree, polynomial) ^ (b << degree) for b in range(256)]

    def cuts(self, buffer: Buffer, is_last: bool) -> list[int]:
        """The lengths in bytes of the chunks that are certain. With `is_last` they cover the buffer
        exactly; without it what follows the last cut is left over.
        """
        data = memoryview(buffer).cast("B")
        lengths = []
        start = 0
        while start < len(data):
            length = self._cut(data[start : start + self._max_size])
            if not is_last and length == len(data) - start and length < self._max_size:
                break  # no cut was found: more bytes may follow before the next
            lengths.append(length)
            start += length
        return lengths

    def _cut(self, data: memoryview) -> int:
        out, reduce, shift, mask = self._out, self._reduce, self._shift, self._mask
        window = bytearray(WINDOW)
        window[0] = 1
        position = 1
        fingerprint = 1
        count = self._min_size - WINDOW
        for byte in data[count:]:
            fingerprint ^= out[window[position]]
            window[position] = byte
            position = (position + 1) % WINDOW
            fingerprint = (fingerprint << 8 | byte) ^ reduce[fingerprint >> shift]
            count += 1
            if not fingerprint & mask and count >= self._min_size:
                return count
        return len(data)


def _remainder(value: int, polynomial: int) -> int:
    degree = polynomial.bit_length()
    while value.bit_length() >= degree:
        value ^= polynomial << (value.bit_length() - degree)
    return value

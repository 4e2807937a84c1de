"""From a password to a key: scrypt (RFC 7914), with bounds against parameters that exhaust memory or time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from limpet.errors import IntegrityError
from limpet.format.crypto import ENCRYPT_KEY_SIZE, MAC_K_SIZE, MAC_R_SIZE, MasterKey

SALT_SIZE = 64

MAX_MEMORY_BYTES = 1024**3
"""Most memory a stored key may ask for; restic writes keys of 32 MiB."""

MAX_WORK = 2**26
"""Most block operations (N * r * p) a stored key may ask for, some 20 s; restic writes about 2**20, half a second."""

_MIN_SALT_SIZE = 8
_MAX_SALT_SIZE = 4096
_MAX_PARALLEL = 64
# As restic: the largest N with r = 8 whose memory stays below its 60 MB, so a small machine can open the repository.
_CALIBRATED_N = 32768
_CALIBRATED_R = 8


@dataclass(frozen=True, slots=True)
class KdfParameters:
    """scrypt's cost N (a power of two), block size r, parallelism p, and the salt; IntegrityError if absurd."""

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.n < 2 or self.n & (self.n - 1) or self.r < 1 or self.p < 1:
            raise IntegrityError(
                f"key has impossible scrypt parameters {self._costs}: N is no power of two, or r or p is 0"
            )
        if 128 * self.n * self.r > MAX_MEMORY_BYTES or 128 * self.r * self.p > MAX_MEMORY_BYTES:
            raise IntegrityError(
                f"key asks for more than {MAX_MEMORY_BYTES >> 20} MiB of memory (scrypt {self._costs})"
            )
        if self.n * self.r * self.p > MAX_WORK:
            raise IntegrityError(f"key asks for minutes of computing (scrypt {self._costs})")
        if not _MIN_SALT_SIZE <= len(self.salt) <= _MAX_SALT_SIZE:
            raise IntegrityError(f"key has a salt of {len(self.salt)} bytes, expected {SALT_SIZE}")

    @property
    def _costs(self) -> str:
        return f"N={self.n} r={self.r} p={self.p}"


def new_salt() -> bytes:
    """64 random bytes."""
    return os.urandom(SALT_SIZE)


def derive_key(password: str, parameters: KdfParameters) -> MasterKey:
    """The key that a password stands for: 64 bytes of scrypt, as 32 for AES, 16 for `k` and 16 for `r`.

    Releases the GIL; takes `128 * N * r` bytes of memory. IntegrityError if that memory is not to be had.
    """
    # surrogateescape: a password from the environment keeps its very bytes, whatever the locale.
    secret = password.encode("utf-8", "surrogateescape")
    block_bytes = 128 * parameters.r
    try:
        derived = hashlib.scrypt(
            secret,
            salt=parameters.salt,
            n=parameters.n,
            r=parameters.r,
            p=parameters.p,
            maxmem=block_bytes * (parameters.n + parameters.p + 2) + 1024 * 1024,
            dklen=ENCRYPT_KEY_SIZE + MAC_K_SIZE + MAC_R_SIZE,
        )
    except (ValueError, MemoryError) as error:
        memory_mib = block_bytes * parameters.n >> 20
        raise IntegrityError(f"key cannot be derived, scrypt needs {memory_mib} MiB of memory: {error}") from error
    return MasterKey(derived[:32], derived[32:48], derived[48:])


def calibrate(clock: Callable[[], float], *, target_s: float = 0.5) -> KdfParameters:
    """Parameters that take about `target_s` on this machine and 32 MiB of memory, with a fresh salt.

    `clock` gives seconds, such as `time.perf_counter` (this layer has no clock of its own).
    """
    salt = new_salt()
    start_s = clock()
    derive_key("", KdfParameters(_CALIBRATED_N, _CALIBRATED_R, 1, salt))
    elapsed_s = max(clock() - start_s, 1e-6)
    parallel = max(1, min(int(target_s / elapsed_s), _MAX_PARALLEL))
    return KdfParameters(_CALIBRATED_N, _CALIBRATED_R, parallel, salt)

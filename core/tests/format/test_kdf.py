"""scrypt against RFC 7914, and its bounds."""

from __future__ import annotations

import time

import pytest
from limpet.errors import IntegrityError
from limpet.format.crypto import MasterKey
from limpet.format.kdf import KdfParameters, calibrate, derive_key, new_salt


def test_derivation_is_scrypt() -> None:
    """No password would open a repository that restic made."""
    # RFC 7914, section 12, third vector.
    expected = bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    key = derive_key("pleaseletmein", KdfParameters(16384, 8, 1, b"SodiumChloride"))
    assert key == MasterKey(expected[:32], expected[32:48], expected[48:])


def test_empty_and_odd_passwords_differ() -> None:
    """`--insecure-no-password`, and passwords that are no UTF-8, are in use."""
    parameters = KdfParameters(16, 1, 1, new_salt())
    passwords = ["", "p", "p\udcff", "p\u00ff", "pässwörd"]
    assert len({derive_key(password, parameters).encrypt for password in passwords}) == len(passwords)


@pytest.mark.parametrize(
    ("n", "r", "p"),
    [
        (0, 8, 1),
        (1, 8, 1),
        (-32768, 8, 1),
        (32767, 8, 1),
        (32768, 0, 1),
        (32768, -8, 1),
        (32768, 8, 0),
        (2**40, 8, 1),
        (2**62, 8, 1),
        (2, 2**40, 1),
        (2, 1, 2**40),
        (32768, 8, 2**20),
        (2**20, 8, 64),
    ],
)
def test_absurd_parameters_are_refused(n: int, r: int, p: int) -> None:
    """A damaged key file must end in a line of text, not in hours of work or a machine out of memory."""
    with pytest.raises(IntegrityError, match="scrypt"):
        KdfParameters(n, r, p, bytes(64))


@pytest.mark.parametrize("size", [0, 7, 5000])
def test_odd_salts_are_refused(size: int) -> None:
    """A key without salt would fall to a precomputed table."""
    with pytest.raises(IntegrityError, match="salt"):
        KdfParameters(32768, 8, 1, bytes(size))


def test_calibration_aims_at_the_target_on_any_machine() -> None:
    """Too little work and passwords are guessed quickly; too much and each command hangs."""
    for seconds_each, expected_p in ((0.1, 5), (0.0001, 64), (3.0, 1), (0.0, 64)):
        ticks = iter((100.0, 100.0 + seconds_each))
        parameters = calibrate(lambda ticks=ticks: next(ticks))  # type: ignore[misc]
        assert (parameters.n, parameters.r, parameters.p) == (32768, 8, expected_p)
        assert len(parameters.salt) == 64


def test_calibrated_parameters_stay_within_the_memory_of_restic() -> None:
    """A key that needs more memory than restic allows would lock small machines out."""
    parameters = calibrate(time.perf_counter, target_s=0.01)
    assert 128 * parameters.n * parameters.r <= 60 * 1024 * 1024
    assert calibrate(time.perf_counter, target_s=0.01).salt != parameters.salt

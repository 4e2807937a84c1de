"""Key files: round trip, restic's text, passwords right and wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.errors import IntegrityError, RepositoryError, WrongPasswordError
from limpet.format.crypto import Box, MasterKey
from limpet.format.kdf import KdfParameters, derive_key, new_salt
from limpet.format.keyfile import KeyFile, decode_keyfile, encode_keyfile, seal_master_key
from limpet.format.timestamps import Time

parameters = st.builds(
    KdfParameters,
    n=st.integers(1, 15).map(lambda bits: 1 << bits),
    r=st.integers(1, 8),
    p=st.integers(1, 9),
    salt=st.binary(min_size=8, max_size=64),
)
times = st.builds(Time, ns=st.integers(0, 4 * 10**18), offset_s=st.integers(-14, 14).map(lambda hours: hours * 3600))
keyfiles = st.builds(
    KeyFile,
    created=times,
    username=st.text(),
    hostname=st.text(),
    kdf=parameters,
    data=st.binary(min_size=32, max_size=300),
    extra=st.dictionaries(st.sampled_from(["rustic", "note"]), st.integers() | st.text(), max_size=2).filter(
        lambda extra: all(isinstance(value, str) or abs(value) < 2**63 for value in extra.values())
    ),
)

CHEAP = KdfParameters(16, 1, 1, b"s" * 64)
MASTER = MasterKey(b"e" * 32, b"k" * 16, b"r" * 16)


@given(keyfiles)
def test_decode_undoes_encode(keyfile: KeyFile) -> None:
    """A key file with one wrong field locks its owner out for ever."""
    assert decode_keyfile(encode_keyfile(keyfile)) == keyfile


def test_text_is_that_of_restic() -> None:
    """restic reads the fields by these names, and writes them in this order."""
    keyfile = KeyFile(Time(1_700_000_000_500_000_000, 3600), "me", "a<b", CHEAP, bytes(48), {"x": [1]})
    assert encode_keyfile(keyfile) == (
        b'{"created":"2023-11-14T23:13:20.5+01:00","username":"me","hostname":"a\\u003cb","kdf":"scrypt",'
        b'"N":16,"r":1,"p":1,"salt":"%b==","data":"%b","x":[1]}' % (b"c3Nz" * 21 + b"cw", b"A" * 64)
    )


@given(st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=30)
def test_only_the_password_opens(password: str, other: str) -> None:
    """Any password would open the repository, or the right one would not."""
    keyfile = _keyfile(seal_master_key(MASTER, password, CHEAP))
    assert decode_keyfile(encode_keyfile(keyfile)).open(password) == MASTER
    if other.rstrip("\0") != password.rstrip("\0"):  # HMAC pads keys with zeros, so scrypt cannot tell these apart
        with pytest.raises(WrongPasswordError):
            keyfile.open(other)


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"[]",
        b"{}",
        b'{"mac":[],"encrypt":""}',
        b'{"mac":{"k":"AAAA","r":"AAAA"},"encrypt":"AAAA"}',
        b'{"mac":{"k":"%b==","r":"%b=="},"encrypt":"%b="}' % (b"A" * 22, b"A" * 22, b"A" * 43),
    ],
)
def test_sealed_data_that_is_no_key_is_damage(plain: bytes) -> None:
    """A damaged key must not be reported as a wrong password, nor used as a key of zeros."""
    keyfile = _keyfile(Box(derive_key("p", CHEAP)).seal(plain))
    with pytest.raises(IntegrityError, match="master key"):
        keyfile.open("p")


def test_other_functions_are_named() -> None:
    """A key for a later program is not damaged, only unknown."""
    document = json.loads(encode_keyfile(_keyfile(bytes(64)))) | {"kdf": "argon2id"}
    with pytest.raises(RepositoryError, match="argon2id"):
        decode_keyfile(json.dumps(document).encode())


@pytest.mark.parametrize(
    "wrong",
    [
        {"N": 2**50},
        {"N": 1000},
        {"N": -16},
        {"N": "16"},
        {"r": 0},
        {"p": 2**40},
        {"salt": "AA"},
        {"salt": "!!!!"},
        {"data": "AAAA"},
        {"data": None},
        {"created": "yesterday"},
        {"created": 5},
        {"username": 5},
    ],
)
def test_malformed_fields_are_refused(wrong: dict[str, object]) -> None:
    """A damaged key file must end in one clear line before any memory is taken."""
    document = json.loads(encode_keyfile(_keyfile(bytes(64)))) | wrong
    with pytest.raises(IntegrityError):
        decode_keyfile(json.dumps(document).encode())


def test_what_only_informs_may_be_left_out() -> None:
    """A key opens without its owner's name."""
    document = json.loads(encode_keyfile(_keyfile(seal_master_key(MASTER, "p", CHEAP))))
    for name in ("created", "username", "hostname"):
        del document[name]
    assert decode_keyfile(json.dumps(document).encode()).open("p") == MASTER


def test_secrets_stay_out_of_repr() -> None:
    """Salt and sealed key in a log would let others guess passwords at home."""
    salt = new_salt()
    shown = repr(KeyFile(Time(0, 0), "u", "h", KdfParameters(16, 1, 1, salt), b"sealed-data" * 5))
    assert repr(salt) not in shown
    assert "sealed" not in shown


def _keyfile(data: bytes) -> KeyFile:
    return KeyFile(Time(0, 0), "u", "h", CHEAP, data)

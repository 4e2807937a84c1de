"""Lock files: round trip, restic's text, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.errors import IntegrityError
from limpet.format.lockfile import LockFile, decode_lockfile, encode_lockfile
from limpet.format.timestamps import Time

locks = st.builds(
    LockFile,
    time=st.builds(Time, ns=st.integers(0, 4 * 10**18), offset_s=st.integers(-14, 14).map(lambda hours: hours * 3600)),
    exclusive=st.booleans(),
    hostname=st.text(),
    username=st.text(),
    pid=st.integers(0, 2**31),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
)

VALID = {"time": "2024-01-01T00:00:00Z", "exclusive": False, "hostname": "h", "username": "u", "pid": 7}


@given(locks)
def test_decode_undoes_encode(lock: LockFile) -> None:
    """A lock read wrongly is taken for stale, and two writers meet."""
    assert decode_lockfile(encode_lockfile(lock)) == lock


def test_text_is_that_of_restic() -> None:
    """restic must honour our locks; owners of 0 are left out."""
    lock = LockFile(Time(1_700_000_000_000_000_000, 0), True, "h&h", "", 7)
    text = b'{"time":"2023-11-14T22:13:20Z","exclusive":true,"hostname":"h\\u0026h","username":"","pid":7%b}'
    assert encode_lockfile(lock) == text % b""
    owned = LockFile(lock.time, True, "h&h", "", 7, 1000, 100)
    assert encode_lockfile(owned) == text % b',"uid":1000,"gid":100'


def test_unknown_fields_are_ignored() -> None:
    """A lock of a later program still locks."""
    assert decode_lockfile(json.dumps(VALID | {"reason": {"deep": [1]}}).encode()).pid == 7


@pytest.mark.parametrize(
    "wrong",
    [{"time": "now"}, {"time": 5}, {"exclusive": "no"}, {"exclusive": 0}, {"pid": -1}, {"pid": 1.5}, {"uid": 2**32}],
)
def test_malformed_fields_are_refused(wrong: dict[str, object]) -> None:
    """An exclusive lock that decodes as a shared one would let others in."""
    with pytest.raises(IntegrityError):
        decode_lockfile(json.dumps(VALID | wrong).encode())

"""Snapshots: restic's bytes, rustic's fields kept, damage told."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.errors import IntegrityError
from limpet.format.snapshot import Protection, Snapshot, SnapshotSummary, decode_snapshot, encode_snapshot
from limpet.format.timestamps import Time
from limpet.ids import BlobId, StorageId

TIMES = st.builds(Time, st.integers(-(2**60), 2**62), st.integers(-1439, 1439).map(lambda minutes: minutes * 60))
RAW_IDS = st.binary(min_size=32, max_size=32)
TEXTS = st.lists(st.text(max_size=8), max_size=3)
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
EXTRA = st.dictionaries(
    st.text(max_size=5).map(lambda key: "x-" + key), st.integers(0, 5) | st.text(max_size=5), max_size=2
)
COUNTS = [field.name for field in fields(SnapshotSummary) if field.name not in ("backup_start", "backup_end", "extra")]
SUMMARIES = st.builds(
    SnapshotSummary, backup_start=TIMES, backup_end=TIMES, extra=EXTRA, **dict.fromkeys(COUNTS, UINT64)
)
SNAPSHOTS = st.builds(
    Snapshot, time=TIMES, tree=st.none() | RAW_IDS.map(BlobId), paths=TEXTS, parent=st.none() | RAW_IDS.map(StorageId),
    hostname=st.text(max_size=5), username=st.text(max_size=5), uid=UINT32, gid=UINT32, excludes=TEXTS, tags=TEXTS,
    original=st.none() | RAW_IDS.map(StorageId), program_version=st.text(max_size=5), summary=st.none() | SUMMARIES,
    description=st.text(max_size=5), protection=st.none() | st.builds(Protection, st.none() | TIMES), extra=EXTRA,
)  # fmt: skip

WRITTEN_BY_RESTIC = (
    b'{"time":"2026-11-21T21:18:08.006139879+01:00","parent":"' + b"1f" * 32 + b'","tree":"' + b"0a" * 32 + b'",'
    b'"paths":["/tmp/a \\u0026 b","/\xc3\xa9"],"hostname":"vm","username":"u","uid":1000,"gid":100,"excludes":["*.o"],'
    b'"tags":["a","b"],"original":"' + b"2e" * 32 + b'","program_version":"restic 0.19.1","summary":{'
    b'"backup_start":"2026-11-21T21:18:08.006139879+01:00","backup_end":"2026-11-21T21:18:08.728563758+01:00",'
    b'"files_new":2,"files_changed":0,"files_unmodified":0,"dirs_new":1,"dirs_changed":0,"dirs_unmodified":0,'
    b'"data_blobs":1,"tree_blobs":2,"data_added":3149,"data_added_packed":912,"total_files_processed":2,'
    b'"total_bytes_processed":4}}'
)


def test_the_bytes_of_restic() -> None:
    """A snapshot rewritten (`tag`, `rewrite`) keeps all that restic knows, in restic's order."""
    assert encode_snapshot(decode_snapshot(WRITTEN_BY_RESTIC)) == WRITTEN_BY_RESTIC


def test_the_smallest_snapshot() -> None:
    """What is empty is left out, but time, tree and paths never are."""
    snapshot = Snapshot(Time(0, 0), BlobId(bytes(32)), [])
    assert encode_snapshot(snapshot) == b'{"time":"1970-01-01T00:00:00Z","tree":"%b","paths":[]}' % (b"0" * 64)


@settings(max_examples=200)
@given(SNAPSHOTS)
def test_round_trip(snapshot: Snapshot) -> None:
    """No field, known or not, may change on its way through a repository."""
    encoded = encode_snapshot(snapshot)
    assert decode_snapshot(encoded) == snapshot
    assert orjson.loads(encoded)["time"]


def test_fields_of_rustic_survive() -> None:
    """Labels, descriptions and delete protection of rustic must not be lost by a rewrite of ours."""
    document = {
        **orjson.loads(WRITTEN_BY_RESTIC),
        "label": "weekly", "delete": {"After": "2027-01-01T00:00:00Z"}, "description": None, "parents": ["00" * 32],
    }  # fmt: skip
    document["summary"]["command"] = "rustic backup"
    document["summary"]["total_duration"] = 0.25
    assert orjson.loads(encode_snapshot(decode_snapshot(orjson.dumps(document)))) == document


@pytest.mark.parametrize(
    ("written", "protection"),
    [
        ("Never", Protection()),
        ({"After": "2027-01-01T00:00:00Z"}, Protection(Time(1_798_761_600_000_000_000, 0))),
        ("NotSet", None),
        (None, None),
        ({"After": "soon"}, Protection()),
        ({"Unless": "asked"}, Protection()),
    ],
)
def test_protection_of_rustic(written: object, protection: Protection | None) -> None:
    """A snapshot that another program protects stays protected, also in a way that we do not know yet."""
    document = {**orjson.loads(WRITTEN_BY_RESTIC), "delete": written}
    snapshot = decode_snapshot(orjson.dumps(document))
    assert snapshot.protection == protection
    assert orjson.loads(encode_snapshot(snapshot)) == document


def test_a_description_that_is_none() -> None:
    """restic reads a snapshot whatever fields another program has added: so must we."""
    document = {**orjson.loads(WRITTEN_BY_RESTIC), "description": ["not", "a text"]}
    snapshot = decode_snapshot(orjson.dumps(document))
    assert snapshot.description == ""
    assert orjson.loads(encode_snapshot(snapshot)) == document


BAD_FIELDS: list[tuple[str, Any]] = [
    ("time", 5), ("time", "x"), ("tree", "ab"), ("tree", 1), ("paths", "x"), ("paths", [1]), ("parent", []),
    ("hostname", 1), ("uid", -1), ("gid", 2**32), ("tags", {}), ("excludes", [None]), ("original", "zz" * 32),
    ("program_version", 1), ("summary", []), ("summary", {"files_new": -1}), ("summary", {"backup_end": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD_FIELDS)
def test_damaged_fields(key: str, value: object) -> None:
    """Damage is told, not guessed around."""
    with pytest.raises(IntegrityError):
        decode_snapshot(orjson.dumps({**orjson.loads(WRITTEN_BY_RESTIC), key: value}))


@settings(max_examples=300)
@given(st.binary(max_size=40), st.integers(0, len(WRITTEN_BY_RESTIC)), st.integers(0, 40))
def test_damaged_bytes(damage: bytes, position: int, dropped: int) -> None:
    """Only the documented error escapes, and what is read can be written."""
    data = WRITTEN_BY_RESTIC[:position] + damage + WRITTEN_BY_RESTIC[position + dropped :]
    try:
        snapshot = decode_snapshot(data)
    except IntegrityError:
        return
    encode_snapshot(snapshot)

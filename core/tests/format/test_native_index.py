"""The index table in C and its plain-Python twin: the same answers, and nothing added from what is malformed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.format import _index_py, _native
from limpet.format.indexfile import decode_index
from limpet.testing.restic import Restic

Table: TypeAlias = _native.IndexTable | _index_py.IndexTable
BOTH: list[Callable[[], Table]] = [_native.IndexTable, _index_py.IndexTable]
U32_MAX = 2**32 - 1

few_ids = st.sampled_from([bytes([number]) * 32 for number in range(6)])
u32 = st.one_of(st.integers(0, 3), st.integers(0, U32_MAX), st.just(U32_MAX))
blobs = st.tuples(st.integers(0, 1), few_ids, st.integers(0, 3), u32, u32)


def contents(table: Table) -> dict[str, Any]:
    """Everything that a table answers."""
    keys = [(kind, bytes([number]) * 32) for kind in (0, 1) for number in range(7)]
    return {
        "length": len(table),
        "packs": table.pack_ids(),
        "found": [(table.contains(*key), table.find(*key), table.find_all(*key)) for key in keys],
        "by id": [table.pack_blobs(pack) for pack in table.pack_ids()],
        "by number": [table.pack_blobs(number) for number in range(len(table.pack_ids()))],
        "sizes": table.pack_sizes(),
        "entries": [list(table.iterate(kind)) for kind in (None, 0, 1)],
    }


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(few_ids, st.lists(blobs, max_size=4)), max_size=12))
def test_both_tables_answer_alike(packs: list[tuple[bytes, list[tuple[int, bytes, int, int, int]]]]) -> None:
    """Who works without the extension must see the same repository, duplicates in several packs included."""
    tables = [make() for make in BOTH]
    for table in tables:
        for pack_id, members in packs:
            number = table.add_pack(pack_id)
            for kind, blob_id, offset, length, plain_length in members:
                table.add(kind, blob_id, number, offset, length, plain_length)
    assert contents(tables[0]) == contents(tables[1])


@pytest.mark.parametrize("make", BOTH)
def test_first_added_wins_and_exact_duplicates_are_dropped(make: Callable[[], Table]) -> None:
    """One pack is often described in several index files; its blobs and its size must not count twice."""
    table = make()
    first, second, blob = bytes(32), b"\1" * 32, b"\2" * 32
    for pack_id in (first, second, first):
        table.add(0, blob, table.add_pack(pack_id), 7, 40, 0)
    table.add(0, blob, table.add_pack(second), 100, 50, 60)
    assert table.find(0, blob) == (first, 7, 40, 0)
    assert table.find_all(0, blob) == [(first, 7, 40, 0), (second, 7, 40, 0), (second, 100, 50, 60)]
    assert not table.contains(1, blob)
    assert len(table) == 3
    assert table.pack_sizes() == {first: 36 + 40 + 37, second: 36 + 40 + 37 + 50 + 41}


@pytest.mark.parametrize("make", BOTH)
def test_blobs_of_a_pack_come_by_offset_though_added_in_turns(make: Callable[[], Table]) -> None:
    """Prune and repair read a pack front to back."""
    table = make()
    packs = [table.add_pack(bytes([number]) * 32) for number in range(3)]
    for offset in (500, 0, 200):
        for pack in packs:
            table.add(1, bytes([pack]) + offset.to_bytes(31, "big"), pack, offset, 100, 0)
    assert [blob[2] for blob in table.pack_blobs(1)] == [0, 200, 500]
    assert {blob[1][0] for blob in table.pack_blobs(bytes([2]) * 32)} == {2}


@pytest.mark.parametrize("make", BOTH)
def test_impossible_arguments_are_refused(make: Callable[[], Table]) -> None:
    """A number cut to 32 bits would read other bytes than those of the blob."""
    table = make()
    pack, blob = table.add_pack(bytes(32)), bytes(32)
    for arguments in (
        (2, blob, pack, 0, 0, 0),
        (-1, blob, pack, 0, 0, 0),
        (0, blob[:31], pack, 0, 0, 0),
        (0, blob, pack + 1, 0, 0, 0),
        (0, blob, 2**31, 0, 0, 0),
        (0, blob, pack, 2**32, 0, 0),
        (0, blob, pack, 0, -1, 0),
        (0, blob, pack, 0, 0, 2**70),
    ):
        with pytest.raises(ValueError, match=r"must be|an id has|no pack has"):
            table.add(*arguments)
    with pytest.raises(TypeError):
        table.find(0, "0" * 32)  # type: ignore[arg-type]
    for unknown in (1, b"\1" * 32):
        with pytest.raises(KeyError):
            table.pack_blobs(unknown)
    assert len(table) == 0


def test_a_grown_table_finds_everything() -> None:
    """Each growth puts all entries into new buckets: none may be lost, and the first of a key stays the first."""
    table = _native.IndexTable()
    ids = [random.Random(1).randbytes(32) for _ in range(1)] + [os.urandom(32) for _ in range(150_000)]
    for round_number in range(2):
        for number, blob_id in enumerate(ids):
            pack = table.add_pack(round_number.to_bytes(4, "big") + (number // 20).to_bytes(28, "big"))
            table.add(number & 1, blob_id, pack, number, 32, 0)
    assert len(table) == 2 * len(ids)
    for number, blob_id in enumerate(ids):
        found = table.find(number & 1, blob_id)
        assert found is not None
        assert found[:2] == ((number // 20).to_bytes(32, "big"), number)
        assert not table.contains(1 - (number & 1), blob_id)
    assert len(table.pack_blobs(((len(ids) - 1) // 20).to_bytes(32, "big"))) == (len(ids) - 1) % 20 + 1
    assert table.memory_bytes() < 70 * len(table)


def test_forked_processes_read_what_the_parent_loaded() -> None:
    """Workers inherit the table; they must find all blobs without touching it."""
    table = _native.IndexTable()
    pack = table.add_pack(bytes(32))
    table.add(0, b"\1" * 32, pack, 5, 40, 0)
    child = os.fork()
    if child == 0:
        os._exit(0 if table.find(0, b"\1" * 32) == (bytes(32), 5, 40, 0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# The layouts of index files: restic 0.8 to 0.19 and Limpet, with little or no white space.


def _hex(number: int) -> bytes:
    return b"%064x" % number


@st.composite
def index_files(draw: st.DrawFn) -> bytes:
    """A well-formed index file in one of the known layouts."""
    space = draw(st.sampled_from([b"", b"", b" ", b"\n  ", b"\t\r"]))
    ids = st.builds(_hex, st.integers(0, 5))

    def listed(items: list[bytes]) -> bytes:
        return b"[" + space + (space + b"," + space).join(items) + space + b"]"

    def fields(*items: tuple[bytes, bytes]) -> bytes:
        texts = [b'"' + name + b'"' + space + b":" + space + value for name, value in items]
        return b"{" + space + (space + b"," + space).join(texts) + space + b"}"

    def blob() -> bytes:
        items = [
            (b"id", b'"' + draw(ids) + b'"'),
            (b"type", draw(st.sampled_from([b'"data"', b'"tree"']))),
            (b"offset", b"%d" % draw(st.sampled_from([0, 1, 4711, 2**31]))),
            (b"length", b"%d" % draw(st.sampled_from([32, 33, 5000, 2**31 - 1]))),
        ]
        if draw(st.booleans()):
            items.append((b"uncompressed_length", b"%d" % draw(st.sampled_from([0, 1, U32_MAX]))))
        return fields(*items)

    def pack() -> bytes:
        members = [blob() for _ in range(draw(st.integers(0, 3)))]
        return fields((b"id", b'"' + draw(ids) + b'"'), (b"blobs", listed(members)))

    packs = listed([pack() for _ in range(draw(st.integers(0, 3)))])
    layout = draw(st.sampled_from(["new", "supersedes", "array"]))
    if layout == "array":
        return space + packs + space
    old = [] if layout == "new" else [(b"supersedes", listed([b'"' + draw(ids) + b'"' for _ in range(2)]))]
    return space + fields(*old, (b"packs", packs)) + b"\n"


@settings(max_examples=100, deadline=None)
@given(index_files())
def test_every_known_layout_is_loaded(json: bytes) -> None:
    """A layout that the scanner refuses costs tenfold time and memory; one it misreads loses data."""
    tables = [make() for make in BOTH]
    counts = [table.load_json(json) for table in tables]
    assert contents(tables[0]) == contents(tables[1])
    assert counts == [len(table) for table in tables]
    assert [table.load_json(bytearray(json)) for table in tables] == [0, 0]

    by_hand = _native.IndexTable()
    for pack_id, members in decode_index(json).packs:
        number = by_hand.add_pack(pack_id)
        for blob in members:
            by_hand.add(blob.kind.value, blob.id, number, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes)
    assert contents(by_hand) == contents(tables[0])


@settings(max_examples=300, deadline=None)
@given(json=index_files(), data=st.data())
def test_damaged_files_add_nothing(json: bytes, data: st.DataObject) -> None:
    """Half an index would make prune delete packs that are in use; both scanners must agree on what is whole."""
    kind = data.draw(st.sampled_from(["cut", "flip", "insert", "double", "swap"]))
    at = data.draw(st.integers(0, len(json) - 1))
    end = data.draw(st.integers(at, min(len(json), at + 40)))
    junk = data.draw(
        st.sampled_from([b"0", b"9", b" ", b",", b'"', b"{", b"]", b"}", b"\\", b"\x00", b"A", b"-", b"e1"])
    )
    damaged = {
        "cut": json[:at],
        "flip": json[:at] + bytes([json[at] ^ 1 << data.draw(st.integers(0, 7))]) + json[at + 1 :],
        "insert": json[:at] + junk + json[at:],
        "double": json[:end] + json[at:],
        "swap": json[:at] + json[end:] + json[at:end],
    }[kind]
    outcomes = []
    for make in BOTH:
        table = make()
        number = table.add_pack(b"\5" * 32)
        table.add(1, b"\6" * 32, number, 1, 40, 3)
        before = contents(table)
        try:
            table.load_json(damaged)
        except ValueError:
            assert contents(table) == before
        outcomes.append(contents(table))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b'"data"', b'"blob"'),
        (b"%064x" % 10, (b"%064x" % 10).upper()),
        (b"4294967000", b"4294967264"),
        (b"4294967000", b"04294967000"),
        (b"4294967000", b"4294967000.0"),
        (b"4294967000", b"-1"),
        (b"4294967000", b"42949670000"),
        (b"4294967000", b"9" * 5000),
        (b"4294967000", b"18446744073709551617"),
        (b'"length":32', b'"length":31'),
        (b'"offset"', b'"Offset"'),
        (b'"packs"', b'"packs" "packs"'),
        (b"]}\n", b"],}\n"),
        (b"]}\n", b"]} x"),
        (b"]}\n", b"]"),
    ],
)
def test_what_is_not_exactly_an_index_is_refused(make: Callable[[], Table], right: bytes, wrong: bytes) -> None:
    """The tolerant decoder decides what else may pass; a guess here would be wrong silently."""
    json = b'{"packs":[{"id":"%064x","blobs":[{"id":"%064x","type":"data","offset":4294967000,"length":32}]}]}\n' % (
        1,
        10,
    )
    assert make().load_json(json) == 1
    assert right in json
    table = make()
    with pytest.raises(ValueError, match="not an index file"):
        table.load_json(json.replace(right, wrong))
    assert contents(table) == contents(make())


@pytest.mark.interop
def test_index_files_of_real_restic_take_the_fast_way(restic_any: Restic, tmp_path: Path) -> None:
    """A layout of restic's that the scanner refuses would be read correctly, but ten times slower."""
    repo = tmp_path / "repo"
    restic_any.run("init", repo=repo, password="x")
    for number in range(2):
        (tmp_path / "file").write_bytes(random.Random(number).randbytes(1_000_000) + bytes(1_000_000))
        restic_any.run("backup", "file", repo=repo, password="x", cwd=tmp_path)
    files = restic_any.run("list", "index", repo=repo, password="x").stdout.split()
    tables = [make() for make in BOTH]
    for name in files:
        json = restic_any.cat("index", name.decode(), repo=repo, password="x")
        assert len({table.load_json(json) for table in tables}) == 1
    listed = restic_any.run("list", "blobs", repo=repo, password="x").stdout.decode().split("\n")
    expected = {
        (["data", "tree"].index(kind), bytes.fromhex(name)) for kind, name in map(str.split, filter(None, listed))
    }
    for table in tables:
        assert {(kind, blob_id) for kind, blob_id, _ in table.iterate()} == expected
        for pack_id, size_bytes in table.pack_sizes().items():
            assert (repo / "data" / pack_id.hex()[:2] / pack_id.hex()).stat().st_size == size_bytes

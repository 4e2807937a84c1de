"""The marks of blobs in C and their plain-Python twin: both decide alike what prune may throw away."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.format import _index_py, _marks_py, _native
from limpet.format._marks_py import PACK_USE
from limpet.format.indexfile import decode_index

DATA, TREE = 0, 1
HEADER = 36
PLAIN_ENTRY, COMPRESSED_ENTRY = 37, 41


@dataclass(frozen=True, slots=True)
class Both:
    """The same blobs and marks twice: in C, and in Python."""

    tables: tuple[_native.IndexTable, _index_py.IndexTable]
    marks: tuple[_native.BlobMarks, _marks_py.BlobMarks]


def _id(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _both(entries: Sequence[tuple[int, int, int, int]]) -> Both:
    """Entries are kind, blob, pack and plain length; lengths follow from the blob."""
    tables = (_native.IndexTable(), _index_py.IndexTable())
    for table in tables:
        offsets: dict[int, int] = {}
        for kind, blob, pack, plain in entries:
            number = table.add_pack(_id(1000 + pack))
            offset = offsets.get(pack, 0)
            table.add(kind, _id(blob), number, offset, 40 + blob, plain)
            offsets[pack] = offset + 40 + blob
    marks = (
        _native.BlobMarks(tables[0], bytearray(len(entries))),
        _marks_py.BlobMarks(tables[1], bytearray(len(entries))),
    )
    return Both(tables, marks)


entry = st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(0, 5), st.sampled_from([0, 99]))


@settings(max_examples=300, deadline=None)
@given(st.lists(entry, max_size=40), st.sets(st.tuples(st.integers(0, 1), st.integers(0, 8))), st.data())
def test_both_survey_alike(
    entries: list[tuple[int, int, int, int]], used: set[tuple[int, int]], data: st.DataObject
) -> None:
    """A pack that one of them takes for unused and the other not is lost data for somebody."""
    both = _both(entries)
    for kind, blob in used:
        answers = {tuple(marks.mark_listed(kind, [_id(blob).hex()])) for marks in both.marks}
        assert len(answers) == 1
    first, second = (marks.survey() for marks in both.marks)
    assert first == second
    kept = data.draw(st.binary(min_size=6, max_size=6))
    assert len(both.marks[0]) == len(both.marks[1])
    for marks in both.marks:
        marks.clear_packs(kept)
    for kind in (DATA, TREE):
        for blob in range(9):
            assert both.marks[0].is_marked(kind, _id(blob)) == both.marks[1].is_marked(kind, _id(blob))
    assert len(both.marks[0]) == len(both.marks[1])


@settings(max_examples=300, deadline=None)
@given(st.lists(entry, max_size=40), st.sets(st.tuples(st.integers(0, 1), st.integers(0, 8))))
def test_every_used_blob_is_used_in_one_place(
    entries: list[tuple[int, int, int, int]], used: set[tuple[int, int]]
) -> None:
    """Of several copies prune may drop all but one, never the last: sums over packs and totals must say so."""
    both = _both(entries)
    present = {(kind, blob) for kind, blob, _, _ in entries}
    for kind, blob in used & present:
        assert both.marks[0].mark(kind, _id(blob))
    packs, totals = both.marks[0].survey()
    records = list(PACK_USE.iter_unpack(packs))
    places = len(both.tables[0])
    assert totals[0] == len(used & present) == sum(record[0] for record in records)
    assert sum(totals[:3]) == places
    assert totals[1] + totals[2] == sum(record[1] for record in records)
    sizes = both.tables[0].pack_sizes()
    assert [record[4] + record[5] for record in records] == [
        sizes[_id_of_pack] for _id_of_pack in both.tables[0].pack_ids()
    ]
    assert len(both.marks[0]) == len(used & present)


@pytest.mark.parametrize("which", [0, 1])
def test_what_an_interrupted_prune_left_is_used(which: int) -> None:
    """A pack of nothing but duplicates is what an interrupted prune has repacked: it must not be repacked again."""
    both = _both([(DATA, 1, 0, 0), (DATA, 2, 0, 0), (DATA, 3, 0, 0), (DATA, 1, 1, 0), (DATA, 2, 1, 0)])
    marks = both.marks[which]
    marks.mark(DATA, _id(1))
    marks.mark(DATA, _id(2))
    packs, totals = marks.survey()
    old, repacked = PACK_USE.iter_unpack(packs)
    assert repacked[:2] == (2, 0)
    assert old[:2] == (0, 3)
    assert totals[:3] == (2, 2, 1)


@pytest.mark.parametrize("which", [0, 1])
def test_header_and_content_of_a_pack(which: int) -> None:
    """A pack's size is compared with that of its file; a header that is not counted makes every pack look damaged."""
    both = _both([(DATA, 1, 0, 0), (TREE, 2, 0, 77), (TREE, 3, 1, 5)])
    both.marks[which].mark(DATA, _id(1))
    packs, _ = both.marks[which].survey()
    mixed, trees = PACK_USE.iter_unpack(packs)
    assert mixed == (1, 1, 0, 7, HEADER + PLAIN_ENTRY + COMPRESSED_ENTRY + 41, 42)
    assert trees == (0, 1, 0, 2, HEADER + COMPRESSED_ENTRY, 43)


@pytest.mark.parametrize("which", [0, 1])
def test_blobs_that_are_not_known(which: int) -> None:
    """A blob that a tree names and no index knows is a damaged repository: prune must hear of it, and stop."""
    both = _both([(DATA, 1, 0, 0)])
    marks = both.marks[which]
    with pytest.raises(KeyError):
        marks.mark(TREE, _id(1))
    unknown = ["", "xx", _id(2).hex(), _id(1).hex().upper()[:-1] + "F", None, "\ud800" * 64]
    assert marks.mark_listed(DATA, [_id(1).hex(), *unknown]) == unknown
    with pytest.raises(TypeError):
        marks.mark_listed(DATA, 3)  # type: ignore[arg-type]
    assert marks.is_marked(DATA, _id(1))
    assert not marks.is_marked(TREE, _id(1))
    assert marks.unmark(DATA, _id(1))
    assert not marks.unmark(DATA, _id(1))


@pytest.mark.parametrize("which", [0, 1])
def test_a_table_that_has_grown_is_not_surveyed(which: int) -> None:
    """Blobs added since have no marks: they would all look unused."""
    both = _both([(DATA, 1, 0, 0)])
    both.tables[which].add(DATA, _id(2), 0, 50, 50, 0)
    with pytest.raises(ValueError, match="added"):
        both.marks[which].survey()
    with pytest.raises(KeyError):
        both.marks[which].mark(DATA, _id(2))


def test_memory_that_is_too_small_is_refused() -> None:
    """Writing beyond it would corrupt the process that decides what is thrown away."""
    both = _both([(DATA, 1, 0, 0), (DATA, 2, 0, 0)])
    for make in (
        lambda: _native.BlobMarks(both.tables[0], bytearray(1)),
        lambda: _marks_py.BlobMarks(both.tables[1], bytearray(1)),
    ):
        with pytest.raises(ValueError, match="byte"):
            make()
    with pytest.raises(BufferError):
        _native.BlobMarks(both.tables[0], bytes(9))
    with pytest.raises(TypeError):
        _native.BlobMarks("no table", bytearray(9))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="byte"):
        both.marks[0].clear_packs(b"")


def test_forked_processes_mark_together() -> None:
    """Workers look through trees: what they mark must be seen by the one that plans."""
    both = _both([(DATA, number, 0, 0) for number in range(50)])
    marks = _native.BlobMarks(both.tables[0], mmap.mmap(-1, 50))
    children = []
    for start in (0, 1):
        child = os.fork()
        if child == 0:
            os._exit(bool(marks.mark_listed(DATA, [_id(number).hex() for number in range(start, 50, 2)])))
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    assert len(marks) == 50


@settings(max_examples=100, deadline=None)
@given(st.lists(entry, max_size=30))
def test_packs_are_encoded_as_they_are_read(entries: list[tuple[int, int, int, int]]) -> None:
    """A rewritten index has to say what the old one said, of every blob."""
    both = _both(entries)
    for number, pack_id in enumerate(both.tables[0].pack_ids()):
        json = both.tables[0].pack_json(number)
        assert json == both.tables[1].pack_json(number) == both.tables[0].pack_json(pack_id)
        ((decoded_id, blobs),) = decode_index(b'{"packs":[' + json + b"]}").packs
        assert decoded_id == pack_id == both.tables[0].pack_id(number)
        assert both.tables[0].find_pack(pack_id) == number == both.tables[1].find_pack(pack_id)
        plain = [
            (blob.kind.value, blob.id, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes) for blob in blobs
        ]
        assert plain == both.tables[0].pack_blobs(number)
    assert both.tables[0].pack_count() == both.tables[1].pack_count()
    assert both.tables[0].find_pack(_id(5)) is both.tables[1].find_pack(_id(5)) is None
    for table in both.tables:
        with pytest.raises(KeyError):
            table.pack_json(100)

"""Archives in parts: portions, checksums of parts, zip beyond its old limits."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from limpet.errors import RepositoryError
from limpet.format.node import Node, NodeType
from limpet.ids import BlobId, StorageId
from limpet.operations.dump import Archive, dump, dump_folder
from limpet.operations.dump.crc import combine_crc32
from limpet.operations.dump.entries import Entry
from limpet.operations.dump.portions import Blobs, Content, SmallEntries, steps
from limpet.operations.dump.zip import ZipRendering, ZipWriter
from limpet.testing.handmade import Handmade

MIB = 1024 * 1024


@given(some.binary(max_size=300), some.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_checksum_of_two_parts(first: bytes, second: bytes) -> None:
    """A large file in a zip archive would be refused by every reader."""
    assert combine_crc32(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_checksum_of_huge_parts() -> None:
    """The same, of parts beyond 4 GiB: many zeros, one by one and at once."""
    zeros = bytes(MIB)
    combined = zlib.crc32(b"x")
    for _ in range(64):
        combined = combine_crc32(combined, zlib.crc32(zeros), MIB)
    assert combined == combine_crc32(zlib.crc32(b"x"), zlib.crc32(bytes(64 * MIB)), 64 * MIB)


def entry(name: bytes, *sizes: int, pack: int = 1, offset: int = 0) -> Entry:
    """A file of blobs of these sizes, one after the other in a pack."""
    blobs = []
    for size in sizes:
        blobs.append((BlobId(b"%d-%d" % (pack, offset)), (bytes([pack] * 32), offset, size + 32, 0)))
        offset += size + 32
    return Entry(name, {"name": name.decode(), "type": "file"}, blobs, sum(sizes))


def test_neighbours_are_read_together() -> None:
    """80,000 small files would be 80,000 requests to the storage."""
    entries = [entry(b"%d" % number, 1000, offset=number * 1032) for number in range(3000)]
    found = list(steps(entries))
    assert all(isinstance(step, SmallEntries) for step in found)
    assert [len(step.blobs.ranges()) for step in found if isinstance(step, SmallEntries)] == [1, 1, 1]
    assert [one.path for step in found if isinstance(step, SmallEntries) for one, _ in step.entries] == [
        one.path for one in entries
    ]


def test_large_entries_come_in_parts() -> None:
    """A file of 100 GB would be held in memory, or its blobs be out of order."""
    large = entry(b"large", *[MIB] * 10)
    found = list(steps([entry(b"a", 10), large, entry(b"b", 10, pack=2)]))
    kinds = [type(step).__name__ for step in found]
    assert kinds == ["SmallEntries", "Begin", *["Content"] * 4, "End", "SmallEntries"]
    parts = [step for step in found if isinstance(step, Content)]
    assert [blob for part in parts for blob in part.blobs.numbers] == [blob_id for blob_id, _ in large.blobs]


def test_ranges_do_not_overlap_and_hold_everything() -> None:
    """A blob would be looked for where it was not read."""
    blobs = Blobs()
    for pack, offset, length in (
        (1, 500, 100),
        (1, 0, 100),
        (2, 0, 50),
        (1, 10_000_000, 60),
        (1, 600, 40),
        (1, 550, 50),
    ):
        blobs.add((BlobId(b"%d-%d" % (pack, offset)), (bytes([pack] * 32), offset, length, 0)))
    ranges = blobs.ranges()
    assert sorted(number for one in ranges for number in one.blobs) == list(range(6))
    for one in ranges:
        for number in one.blobs:
            pack_id, offset, length, _ = blobs.places[number]
            assert StorageId(pack_id) == one.pack_id
            assert one.offset_bytes <= offset
            assert offset + length <= one.offset_bytes + one.length_bytes
    read = sorted((one.pack_id, one.offset_bytes, one.length_bytes) for one in ranges)
    assert len(read) < 6
    assert all(pack != following or start < after for (pack, start, _), (following, after, _) in pairwise(read))


@pytest.mark.parametrize("archive", list(Archive))
def test_content_arrives_whole(archive: Archive) -> None:
    """Repeated blobs, blobs across portions, and those that are damaged in one of their packs."""
    made = Handmade()
    blobs = [os.urandom(3 * MIB) for _ in range(4)]
    hurt = made.pack(blobs[0])
    stored = bytearray(made.repository.backend.load(made.handle(hurt), 0, 100_000))
    made.replace_pack(hurt, bytes(stored))
    nodes = [
        made.file(b"a", b"small", b"er"),
        made.file(b"b", *blobs, blobs[1], blobs[1]),
        made.file(b"c", b"small"),
        made.file(b"d"),
        Node(b"e", NodeType.SYMLINK, link_target=b"a"),
    ]
    out = io.BytesIO()
    dump_folder(made.repository, made.tree(*nodes), out, archive)
    expected = {"a": b"smaller", "b": b"".join((*blobs, blobs[1], blobs[1])), "c": b"small", "d": b""}
    if archive is Archive.ZIP:
        with zipfile.ZipFile(out) as found:
            assert found.testzip() is None
            assert {name: found.read(name) for name in found.namelist()} == {**expected, "e": b"a"}
    else:
        out.seek(0)
        with tarfile.open(fileobj=out) as found_tar:
            files = [(one.name, found_tar.extractfile(one)) for one in found_tar if one.isfile()]
            assert {name: file.read() for name, file in files if file is not None} == expected
    whole = io.BytesIO()
    dump(made.repository, made.tree(*nodes), b"/b", whole)
    assert whole.getvalue() == expected["b"]


def test_headers_larger_than_a_buffer() -> None:
    """Attributes of many files together may be larger than all content: they must not be cut."""
    made = Handmade()
    node = made.file(b"f", b"x")
    nodes = []
    for number in range(200):
        other = made.file(b"%03d" % number, b"x", stored=False)
        other.extended_attributes = [(b"user.large", bytes(60_000))]
        nodes.append(other)
    out = io.BytesIO()
    dump_folder(made.repository, made.tree(*nodes, node), out)
    assert len(out.getvalue()) > 200 * 60_000
    out.seek(0)
    with tarfile.open(fileobj=out) as found:
        assert len(found.getnames()) == 201


def test_more_entries_and_bytes_than_zip_once_knew() -> None:
    """An archive of more than 65,535 files, or 4 GiB, would be read as a small or a broken one."""
    writer, rendering = ZipWriter(), ZipRendering()
    fields = {"name": "f", "type": "file", "mode": 0o644, "mtime": "2024-01-02T03:04:05Z"}
    huge = Entry(b"huge", fields, [], 5 * 1024 * MIB)
    writer.begin(huge)
    writer.parts([(0x12345678, 1024 * MIB, 1024 * MIB)] * 5)
    descriptor = writer.end()
    assert descriptor.endswith((5 * 1024 * MIB).to_bytes(8, "little"))
    whole = rendering.whole(b"f", fields, [b"content"])
    writer.wholes([(whole.record, sum(map(len, whole.pieces)))] * 70_000)
    end = writer.finish()
    # zipfile finds the directory from the end; what comes before it need not be there.
    file = io.BytesIO(end)
    with zipfile.ZipFile(file) as found:
        names = found.infolist()
    assert len(names) == 70_001
    assert (names[0].file_size, names[0].filename) == (5 * 1024 * MIB, "huge")
    assert (names[-1].file_size, names[-1].date_time) == (7, (2024, 1, 2, 3, 4, 4))


def test_blobs_in_no_index_end_the_dump() -> None:
    """A file would be cut without a word."""
    made = Handmade()
    tree = made.tree(made.file(b"f", b"never stored", stored=False))
    with pytest.raises(RepositoryError, match="is in no index"):
        dump_folder(made.repository, tree, io.BytesIO())

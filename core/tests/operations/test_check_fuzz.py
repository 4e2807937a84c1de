"""The check on repositories damaged at random: it always ends, and never calls them sound."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.backend import Content, FileKind, Handle
from limpet.format.filemode import NodeType
from limpet.format.indexfile import encode_index
from limpet.format.node import Node
from limpet.format.snapshot import Snapshot, encode_snapshot
from limpet.operations.check import CheckOptions, EveryPack, check
from limpet.repository.repository import Repository
from limpet.testing.handmade import A_TIME, PASSWORD, Handmade

KINDS = (FileKind.INDEX, FileKind.SNAPSHOT, FileKind.PACK)
Stored = list[tuple[Handle, bytes]]


def _build() -> tuple[Handmade, bytes]:
    """A repository with a snapshot, and the JSON of its index, which is not saved."""
    made = Handmade()
    made.pack(*(bytes([number]) * 300 for number in range(8)), compressed=True)
    some = made.file(b"some", *(bytes([number]) * 300 for number in range(8)), stored=False)
    folder = made.folder(b"folder", made.file(b"inside", b"inside"), Node(b"link", NodeType.SYMLINK, link_target=b"x"))
    snapshot = Snapshot(A_TIME, made.tree(folder, some), ["/data"])
    made.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))
    index = made.repository.index
    return made, encode_index((pack_id, index.pack_blobs(pack_id)) for pack_id in index.pack_ids())


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Iterator[None]:
    """Workers in threads: a fork for each example would cost most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMPET_THREADS", "1")
        yield


@st.composite
def _damage(draw: st.DrawFn) -> tuple[int, str, int, bytes]:
    """Which file, how, where, and with what."""
    how = draw(st.sampled_from(["remove", "cut", "overwrite", "insert", "swap"]))
    return draw(st.integers(0, 99)), how, draw(st.integers(0, 5000)), draw(st.binary(min_size=1, max_size=40))


def _apply(stored: Stored, damage: tuple[int, str, int, bytes]) -> None:
    number, how, place, data = damage
    number %= len(stored)
    handle, old = stored[number]
    place %= len(old) + 1
    match how:
        case "remove":
            del stored[number]
        case "cut":
            stored[number] = handle, old[:place]
        case "overwrite":
            stored[number] = handle, (old[:place] + data + old[place + len(data) :])[: max(len(old), 1)]
        case "insert":
            stored[number] = handle, old[:place] + data + old[place:]
        case "swap":
            other, content = stored[place % len(stored)]
            stored[number], stored[place % len(stored)] = (handle, content), (other, old)


@settings(max_examples=60, deadline=None)
@given(st.lists(_damage(), min_size=1, max_size=3))
def test_damaged_files(damages: list[tuple[int, str, int, bytes]]) -> None:
    """No pattern of damaged, lost and exchanged files makes the check crash, or be silent."""
    made, index = _build()
    made.repository.save_unpacked(FileKind.INDEX, index)
    backend = made.repository.backend
    sound: Stored = [
        (handle, backend.load(handle))
        for kind in KINDS
        for handle in sorted((Handle(kind, info.name) for info in backend.list(kind)), key=str)
    ]
    stored = list(sound)
    for damage in damages:
        if stored:
            _apply(stored, damage)
    for handle, _ in sound:
        backend.remove(handle)
    for handle, data in stored:
        backend.save(handle, Content(memoryview(data), sha256(data).digest()))
    with Repository.open(backend, PASSWORD) as repository:
        result = check(repository, CheckOptions(EveryPack()))
    without_snapshots = [(handle, data) for handle, data in sound if handle.kind is not FileKind.SNAPSHOT]
    # That a snapshot, or all that names its trees, was removed is not to be seen.
    if set(stored) not in (set(sound), set(without_snapshots), set()) and not _only_packs(stored):
        assert result.findings


def _only_packs(stored: Stored) -> bool:
    return all(handle.kind is FileKind.PACK for handle, _ in stored)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 999),
            st.sampled_from([0, 1, 31, 32, 33, 300, 2**16, 2**31, 2**32 - 1, 2**32, 2**63, 10**30, -1]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_lying_indexes(changes: list[tuple[int, int]]) -> None:
    """An index that is sealed well and says nonsense of places and lengths is found out, whatever it says."""
    made, index = _build()
    changed = index
    for number, value in changes:
        places = [match.span(1) for match in re.finditer(rb'(?:offset|length)":(-?\d+)', changed)]
        start, end = places[number % len(places)]
        changed = changed[:start] + str(value).encode() + changed[end:]
    made.repository.save_unpacked(FileKind.INDEX, changed)
    with Repository.open(made.repository.backend, PASSWORD) as repository:
        result = check(repository, CheckOptions(EveryPack()))
    assert (result.errors == []) == (changed == index)

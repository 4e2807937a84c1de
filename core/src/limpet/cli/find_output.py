"""What `find` prints: restic's text and JSON, and the versions of `--group`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from limpet.cli.json_output import encode_json
from limpet.cli.lines import LineWriter
from limpet.cli.node_output import long_line, match_json
from limpet.cli.session import Session
from limpet.cli.times import format_local
from limpet.format.gojson import json_string
from limpet.format.pack import BlobKind
from limpet.format.timestamps import format_time
from limpet.ids import BlobId, is_hex_id, short
from limpet.operations.find import FoundObject, Match, ObjectIds, Version
from limpet.repository.snapshots import StoredSnapshot

if TYPE_CHECKING:
    from limpet.repository.repository import Repository


class FindOutput(Protocol):
    """Takes what was found, of one kind, snapshot by snapshot; then `close`."""

    def match(self, match: Match) -> None:
        """An entry by its name."""

    def object(self, found: FoundObject) -> None:
        """A use of a blob."""

    def versions(self, versions: Iterable[Version]) -> None:
        """All versions, grouped."""

    def close(self) -> None:
        """Nothing comes any more."""


class TextOutput:
    """Lines for people."""

    def __init__(self, session: Session, lines: LineWriter, *, is_long: bool, human_readable: bool) -> None:
        self._session = session
        self._lines = lines
        self._is_long = is_long
        self._human_readable = human_readable
        self._snapshot: StoredSnapshot | None = None

    def match(self, match: Match) -> None:
        if match.snapshot is not self._snapshot:
            self._head(match.snapshot)
        self._lines.write(self._line(match.path, match) if self._is_long else match.path)

    def object(self, found: FoundObject) -> None:
        word = "tree" if found.kind is BlobKind.TREE else "blob"
        self._lines.write(f"Found {word} {found.id.hex()}".encode())
        if found.parent_tree is None:
            self._lines.write(b" ... path " + found.path)
        else:
            self._lines.write(b" ... in file " + found.path)
            self._lines.write(f"     (tree {found.parent_tree.hex()})".encode())
        self._lines.write(f" ... in snapshot {_named(found.snapshot)}".encode())

    def versions(self, versions: Iterable[Version]) -> None:
        for version in versions:
            self._lines.write(self._line(version.path, version))
            names = ", ".join(_named(stored) for stored in version.snapshots)
            self._lines.write(f" ... in {_count(len(version.snapshots), 'snapshot')}: {names}".encode())

    def close(self) -> None:
        return

    def _line(self, path: bytes, found: Match | Version) -> bytes:
        return long_line(path, found.fields, human_readable=self._human_readable)

    def _head(self, stored: StoredSnapshot) -> None:
        if not self._session.quiet:
            if self._snapshot is not None:
                self._lines.write(b"")
            when = format_local(stored.time_ns)
            self._lines.write(f"Found matching entries in snapshot {short(stored.id)} from {when}".encode())
        self._snapshot = stored


class JsonOutput:
    """One document for all that was found, written as it is found."""

    def __init__(self, session: Session) -> None:
        self._write = session.terminal.write_bytes
        self._snapshot: StoredSnapshot | None = None
        self._hits = 0
        self._is_open = False

    def match(self, match: Match) -> None:
        if match.snapshot is not self._snapshot:
            end = self._end_snapshot() + b"," if self._snapshot is not None else b"["
            self._write(end + b'{"matches":[')
            self._snapshot, self._hits, self._is_open = match.snapshot, 0, True
        self._document(match_json(match.path, match.fields))

    def object(self, found: FoundObject) -> None:
        stored = found.snapshot
        parent = "" if found.parent_tree is None else f'"parent_tree":"{found.parent_tree.hex()}",'
        word = "tree" if found.kind is BlobKind.TREE else "blob"
        self._open()
        self._document(
            f'{{"object_type":"{word}","id":"{found.id.hex()}","path":'.encode()
            + json_string(found.path)
            + f',{parent}"snapshot":"{stored.id.hex()}","time":"{format_time(*stored.snapshot.time)}"}}'.encode()
        )

    def versions(self, versions: Iterable[Version]) -> None:
        for version in versions:
            snapshots = [
                {"id": one.id.hex(), "short_id": short(one.id), "time": format_time(*one.snapshot.time)}
                for one in version.snapshots
            ]
            entry = match_json(version.path, version.fields)
            self._open()
            self._document(entry[:-1] + f',"snapshots":{encode_json(snapshots)}}}'.encode())

    def close(self) -> None:
        if self._snapshot is not None:
            self._write(self._end_snapshot())
        self._write(b"]\n" if self._is_open else b"[]\n")

    def _open(self) -> None:
        if not self._is_open:
            self._write(b"[")
            self._is_open = True

    def _document(self, document: bytes) -> None:
        self._write(b"," + document if self._hits else document)
        self._hits += 1

    def _end_snapshot(self) -> bytes:
        assert self._snapshot is not None
        return f'],"hits":{self._hits},"snapshot":"{self._snapshot.id.hex()}"}}'.encode()


def pack_lines(repository: Repository, ids: ObjectIds) -> Iterable[str]:
    """In which pack each of the blobs and trees is: what `--show-pack-id` prints."""
    for kind, names in ((BlobKind.DATA, ids.blobs), (BlobKind.TREE, ids.trees)):
        for name in names:
            yield from _pack_lines(repository, kind, name)


def _pack_lines(repository: Repository, kind: BlobKind, name: str) -> Sequence[str]:
    if not is_hex_id(name):
        reason = f'invalid length for ID: "{name}"' if len(name) != 64 else f"invalid ID: {name}"
        return [f"Note: cannot find pack for object '{name}', unable to parse ID: {reason}"]
    place = repository.index.find(kind, BlobId(bytes.fromhex(name)))
    if place is None:
        return [f"Object {kind.word} with type {name[:8]} not found in the index"]
    return [
        f"Object belongs to pack {place.pack_id.hex()}",
        f" ... Pack {short(place.pack_id)}: <Blob ({kind.word}) {name[:8]}, offset {place.offset_bytes}, "
        f"length {place.length_bytes}, uncompressed length {place.plain_length_bytes}>",
    ]


def _named(stored: StoredSnapshot) -> str:
    return f"{short(stored.id)} ({format_local(stored.time_ns)})"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"

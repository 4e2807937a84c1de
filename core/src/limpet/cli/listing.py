"""The ways `ls` writes a listing: text, JSON lines, ncdu's format; each takes entries as they are walked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from limpet.cli.json_output import encode_json
from limpet.cli.node_output import file_size, long_line, ncdu_document, node_document, to_text
from limpet.cli.session import Session
from limpet.cli.snapshot_output import snapshot_document, snapshot_fields, snapshot_line
from limpet.format.node import Node, NodeType
from limpet.repository.snapshots import StoredSnapshot

NCDU_VERSION = "1, 2"

SortKey = Callable[[bytes, Node], object]

SORT_KEYS: dict[str, SortKey | None] = {
    "name": None,  # the order of the walk
    "size": lambda _path, node: file_size(node),
    "time": lambda _path, node: node.mtime.ns,
    "mtime": lambda _path, node: node.mtime.ns,
    "atime": lambda _path, node: node.atime.ns,
    "ctime": lambda _path, node: node.ctime.ns,
    "extension": lambda path, _node: extension(path),
}


def extension(path: bytes) -> bytes:
    """From the last dot of the name on, the dot included; empty without a dot."""
    name = path[path.rfind(b"/") + 1 :]
    dot = name.rfind(b".")
    return name[dot:] if dot >= 0 else b""


class Listing(ABC):
    """Takes a snapshot, then its entries, then `close`."""

    @abstractmethod
    def snapshot(self, stored: StoredSnapshot) -> None:
        """The snapshot that is listed."""

    @abstractmethod
    def entry(self, path: bytes, node: Node, *, leads_to_match: bool = False) -> None:
        """One entry, or (`leads_to_match`) only a folder on the way to one."""

    def close(self) -> None:
        """No entry comes any more."""
        return


class TextListing(Listing):
    """One line an entry."""

    def __init__(self, session: Session, folders: Sequence[str], *, is_long: bool, human_readable: bool) -> None:
        self._session = session
        self._folders = folders
        self._is_long = is_long
        self._human_readable = human_readable

    def snapshot(self, stored: StoredSnapshot) -> None:
        self._session.say(f"{snapshot_line(stored)} filtered by [{' '.join(self._folders)}]:")

    def entry(self, path: bytes, node: Node, *, leads_to_match: bool = False) -> None:
        if leads_to_match:
            return
        if self._is_long:
            self._session.print(long_line(path, node, human_readable=self._human_readable))
        else:
            self._session.print(to_text(path))


class JsonListing(Listing):
    """One document a line."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def snapshot(self, stored: StoredSnapshot) -> None:
        self._session.print_json(snapshot_document(stored) | {"message_type": "snapshot", "struct_type": "snapshot"})

    def entry(self, path: bytes, node: Node, *, leads_to_match: bool = False) -> None:
        if not leads_to_match:
            self._session.print_json(node_document(path, node))


class NcduListing(Listing):
    """Nested arrays, one for each folder, that `ncdu -f -` reads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open: list[bytes] = []

    def snapshot(self, stored: StoredSnapshot) -> None:
        self._write(f"[{NCDU_VERSION}, {encode_json(snapshot_fields(stored.snapshot))}, [" + '{"name":"/"}')

    def entry(self, path: bytes, node: Node, *, leads_to_match: bool = False) -> None:
        self._leave_until(path)
        indent = "  " * (1 + len(self._open))
        document = encode_json(ncdu_document(node))
        if node.type is NodeType.DIR:
            self._open.append(path + b"/")
            self._write(f",\n{indent}[\n{indent}  {document}")
        else:
            self._write(f",\n{indent}{document}")

    def close(self) -> None:
        self._leave_until(b"")
        self._write("\n]\n]\n")

    def _leave_until(self, path: bytes) -> None:
        while self._open and not path.startswith(self._open[-1]):
            self._open.pop()
            self._write(f"\n{'  ' * (1 + len(self._open))}]")

    def _write(self, text: str) -> None:
        self._session.terminal.write_bytes(text.encode("utf-8", "surrogateescape"))


class SortedListing(Listing):
    """Holds all entries back and hands them on in order."""

    def __init__(self, inner: Listing, key: SortKey | None, *, is_reversed: bool) -> None:
        self._inner = inner
        self._key = key
        self._is_reversed = is_reversed
        self._entries: list[tuple[bytes, Node]] = []

    def snapshot(self, stored: StoredSnapshot) -> None:
        self._inner.snapshot(stored)

    def entry(self, path: bytes, node: Node, *, leads_to_match: bool = False) -> None:
        if not leads_to_match:
            self._entries.append((path, node))

    def close(self) -> None:
        key = self._key
        if key is not None:
            self._entries.sort(key=lambda entry: (key(*entry), entry[0]))
        if self._is_reversed:
            self._entries.reverse()
        for path, node in self._entries:
            self._inner.entry(path, node)
        self._inner.close()

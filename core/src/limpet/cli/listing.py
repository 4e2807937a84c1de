"""The ways `ls` writes a listing: text, JSON lines, ncdu's format; each takes entries as they are walked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from limpet.cli.json_output import encode_json
from limpet.cli.lines import LineWriter
from limpet.cli.node_output import file_size, long_line, ncdu_json, node_json
from limpet.cli.session import Session
from limpet.cli.snapshot_output import snapshot_document, snapshot_fields, snapshot_line
from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.repository.snapshots import StoredSnapshot

NCDU_VERSION = "1, 2"

SortKey = Callable[[bytes, Fields], object]


def _time_key(name: str) -> SortKey:
    return lambda _path, fields: read.time(fields, name).ns


SORT_KEYS: dict[str, SortKey | None] = {
    "name": None,  # the order of the walk
    "size": lambda _path, fields: file_size(fields),
    "time": _time_key("mtime"),
    "mtime": _time_key("mtime"),
    "atime": _time_key("atime"),
    "ctime": _time_key("ctime"),
    "extension": lambda path, _fields: extension(path),
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
    def entry(self, path: bytes, fields: Fields) -> None:
        """One entry: its node as it is stored."""

    def leading_folder(self, path: bytes, fields: Fields) -> None:
        """A folder on the way to an entry, not listed itself."""
        return

    def close(self) -> None:
        """No entry comes any more."""
        return


class TextListing(Listing):
    """One line an entry."""

    def __init__(
        self, session: Session, lines: LineWriter, folders: Sequence[str], *, is_long: bool, human_readable: bool
    ) -> None:
        self._session = session
        self._lines = lines
        self._folders = folders
        self._is_long = is_long
        self._human_readable = human_readable

    def snapshot(self, stored: StoredSnapshot) -> None:
        self._session.say(f"{snapshot_line(stored)} filtered by [{' '.join(self._folders)}]:")

    def entry(self, path: bytes, fields: Fields) -> None:
        line = long_line(path, fields, human_readable=self._human_readable) if self._is_long else path
        self._lines.write(line)


class JsonListing(Listing):
    """One document a line."""

    def __init__(self, session: Session, lines: LineWriter) -> None:
        self._session = session
        self._lines = lines

    def snapshot(self, stored: StoredSnapshot) -> None:
        self._session.print_json(snapshot_document(stored) | {"message_type": "snapshot", "struct_type": "snapshot"})

    def entry(self, path: bytes, fields: Fields) -> None:
        self._lines.write(node_json(path, fields))


class NcduListing(Listing):
    """Nested arrays, one for each folder, that `ncdu -f -` reads. Every folder on the way has its array."""

    def __init__(self, lines: LineWriter) -> None:
        self._lines = lines
        self._line = b""
        self._open: list[bytes] = []

    def snapshot(self, stored: StoredSnapshot) -> None:
        self._line = f'[{NCDU_VERSION}, {encode_json(snapshot_fields(stored.snapshot))}, [{{"name":"/"}}'.encode()

    def entry(self, path: bytes, fields: Fields) -> None:
        self._leave_until(path)
        indent = b"  " * (1 + len(self._open))
        document = ncdu_json(fields)
        self._end_line(b",")
        if fields.get("type") == "dir":
            self._open.append(path + b"/")
            self._lines.write(indent + b"[")
            indent += b"  "
        self._line = indent + document

    def leading_folder(self, path: bytes, fields: Fields) -> None:
        self.entry(path, fields)

    def close(self) -> None:
        self._leave_until(b"")
        self._end_line()
        self._lines.write(b"]")
        self._lines.write(b"]")

    def _leave_until(self, path: bytes) -> None:
        while self._open and not path.startswith(self._open[-1]):
            self._open.pop()
            self._end_line()
            self._line = b"  " * (1 + len(self._open)) + b"]"

    def _end_line(self, separator: bytes = b"") -> None:
        """Whether a comma follows is known only when the next line is."""
        self._lines.write(self._line + separator)


class SortedListing(Listing):
    """Holds all entries back and hands them on in order."""

    def __init__(self, inner: Listing, key: SortKey | None, *, is_reversed: bool) -> None:
        self._inner = inner
        self._key = key
        self._is_reversed = is_reversed
        self._entries: list[tuple[bytes, Fields]] = []

    def snapshot(self, stored: StoredSnapshot) -> None:
        self._inner.snapshot(stored)

    def entry(self, path: bytes, fields: Fields) -> None:
        fields.pop("content", None)  # the largest part, and nothing that is listed
        self._entries.append((path, fields))

    def close(self) -> None:
        key = self._key
        if key is not None:
            self._entries.sort(key=lambda entry: (key(*entry), entry[0]))
        if self._is_reversed:
            self._entries.reverse()
        for path, fields in self._entries:
            self._inner.entry(path, fields)
        self._inner.close()

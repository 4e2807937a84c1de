"""What is dumped, in order: entries with the places of their blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from limpet.errors import RepositoryError
from limpet.format import fields as read
from limpet.format.fields import Fields
from limpet.format.node import raw_name
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.restore.names import invalid_name
from limpet.operations.walk import walk_fields
from limpet.repository.blob_index import Place, data_length
from limpet.repository.repository import Repository

Blob = tuple[BlobId, Place]


@dataclass(slots=True)
class Entry:
    """Something that is dumped under its path without a leading slash. `fields` is its node without the content.

    The size is counted from the blobs: an archive must state what will come, not what a node says.
    """

    path: bytes
    fields: Fields
    blobs: list[Blob]
    size_bytes: int


def entry_of(repository: Repository, path: bytes, fields: Fields) -> Entry:
    """The entry; RepositoryError if a blob of its content is in no index, so that nothing is cut without a word."""
    content = read.array(fields, "content") if fields.get("type") == "file" else None
    blobs: list[Blob] = []
    size_bytes = 0
    for text in content or ():
        blob_id = BlobId(read.id_from_hex(text))
        place = repository.index.table.find(BlobKind.DATA.value, blob_id)
        if place is None:
            raise RepositoryError(f"{shown(path)}: data blob {text} is in no index; was a pack or an index lost?")
        blobs.append((blob_id, place))
        size_bytes += data_length(place)
    kept = {name: value for name, value in fields.items() if name != "content"}
    return Entry(path, kept, blobs, size_bytes)


def entries_below(
    repository: Repository, tree_id: BlobId, root: bytes, holds: Callable[[Fields], bool]
) -> Iterator[Entry]:
    """Everything in the tree that the archive holds; RepositoryError for names that would lead out of a folder."""
    for path, fields in walk_fields(repository, tree_id, root=root):
        if reason := invalid_name(raw_name(fields)):
            raise RepositoryError(f"{shown(path)} is not put into an archive: the name is not safe, {reason}")
        if holds(fields):
            yield entry_of(repository, path.lstrip(b"/"), fields)


def shown(path: bytes) -> str:
    """A path in a message."""
    return path.decode("utf-8", "backslashreplace")

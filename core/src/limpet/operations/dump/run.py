"""Dump: finds what is named in a snapshot and writes it, a file as it is, a folder as an archive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from limpet.errors import RepositoryError
from limpet.format.fields import Fields
from limpet.format.node import raw_name, subtree_of
from limpet.format.pack import BlobKind
from limpet.ids import BlobId
from limpet.operations.dump.archive import ArchiveWriter, PlainWriter
from limpet.operations.dump.entries import entries_below, entry_of, shown
from limpet.operations.dump.pipeline import Pipeline, Writable
from limpet.operations.dump.portions import Step, contents, steps
from limpet.operations.dump.tar import TarWriter
from limpet.operations.dump.zip import ZipWriter
from limpet.repository.repository import Repository

FEW_BLOBS = 4
"""A file of so few blobs is written before workers would have been started."""


class Archive(Enum):
    """The format in which folders are written; the value is restic's word."""

    TAR = "tar"
    ZIP = "zip"


def dump(
    repository: Repository,
    tree_id: BlobId,
    path: bytes,
    out: Writable,
    *,
    archive: Archive = Archive.TAR,
    before_archive: Callable[[], None] | None = None,
) -> None:
    """Write what the path names in the tree, `/` being all of it. `before_archive` may refuse, by raising.

    RepositoryError where the path leads nowhere or to something without content, where a blob is missing, and for names
    that would lead out of the folder in which an archive is unpacked. What was written until then is no whole archive.
    """
    names = [name for name in path.split(b"/") if name not in {b"", b"."}]
    folder, folder_id = b"", tree_id
    for number, name in enumerate(names):
        folder += b"/" + name
        fields = next((node for node in repository.iter_tree_fields(folder_id) if raw_name(node) == name), None)
        if fields is None:
            raise RepositoryError(f'path "{shown(folder)}" not found in snapshot')
        is_last = number == len(names) - 1
        if is_last and fields.get("type") == "file":
            _dump_file(repository, fields, out, folder[1:])
            return
        subtree = subtree_of(fields)
        if fields.get("type") != "dir" or subtree is None:
            wanted = "file" if is_last else "dir"
            raise RepositoryError(f'"{shown(folder)}" should be a {wanted}, but is a "{fields.get("type")}"')
        folder_id = subtree
    if before_archive is not None:
        before_archive()
    dump_folder(repository, folder_id, out, archive, root=folder)


def dump_folder(
    repository: Repository,
    tree_id: BlobId,
    out: Writable,
    archive: Archive = Archive.TAR,
    *,
    root: bytes = b"/",
) -> None:
    """Write an archive of everything in the tree; `root` is the folder that its paths begin with."""
    writer: ArchiveWriter = TarWriter() if archive is Archive.TAR else ZipWriter()
    _run(repository, writer, out, steps(entries_below(repository, tree_id, root, writer.holds)))
    out.write(writer.finish())


def _dump_file(repository: Repository, fields: Fields, out: Writable, path: bytes) -> None:
    entry = entry_of(repository, path, fields)
    if len(entry.blobs) <= FEW_BLOBS:
        for blob_id, _ in entry.blobs:
            out.write(repository.load_blob(BlobKind.DATA, blob_id))
    else:
        _run(repository, PlainWriter(), out, contents(entry.blobs))


def _run(repository: Repository, writer: ArchiveWriter, out: Writable, wanted: Iterable[Step]) -> None:
    with Pipeline(repository, writer) as pipeline:
        for piece in pipeline.pieces(wanted):
            out.write(piece)

"""Dump: finds what is named in a snapshot and writes it, a file as it is, a folder as an archive."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum

from limpet.errors import RepositoryError
from limpet.format.node import Node, NodeType
from limpet.ids import BlobId
from limpet.operations.dump import tar
from limpet.operations.dump.stream import Entry, Writable, entry_of, stream
from limpet.operations.dump.zip import info
from limpet.operations.restore.names import invalid_name
from limpet.operations.walk import walk
from limpet.repository.repository import Repository

_ZIP_TYPES = {NodeType.FILE, NodeType.DIR, NodeType.SYMLINK}
_MAX_PLAIN_ZIP_BYTES = 0x7F00_0000
"""From here on an entry gets the fields of zip64, before it is known how well it compresses."""


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
        node = next((node for node in repository.load_tree(folder_id) if node.name == name), None)
        if node is None:
            raise RepositoryError(f'path "{_shown(folder)}" not found in snapshot')
        is_last = number == len(names) - 1
        if is_last and node.type is NodeType.FILE:
            dump_file(repository, node, out, path=folder[1:])
            return
        if node.type is not NodeType.DIR or node.subtree is None:
            wanted = "file" if is_last else "dir"
            raise RepositoryError(f'"{_shown(folder)}" should be a {wanted}, but is a "{node.type.value}"')
        folder_id = node.subtree
    if before_archive is not None:
        before_archive()
    dump_folder(repository, folder_id, out, archive, root=folder)


def dump_file(repository: Repository, node: Node, out: Writable, *, path: bytes | None = None) -> None:
    """Write the content of a file."""
    for piece in stream(repository, [entry_of(repository, path or node.name, node)]):
        if not isinstance(piece, Entry):
            out.write(piece)


def dump_folder(
    repository: Repository,
    tree_id: BlobId,
    out: Writable,
    archive: Archive = Archive.TAR,
    *,
    root: bytes = b"/",
) -> None:
    """Write an archive of everything in the tree; `root` is the folder that its paths begin with."""
    write = _write_tar if archive is Archive.TAR else _write_zip
    holds = tar.can_hold if archive is Archive.TAR else _fits_zip
    write(stream(repository, _entries(repository, tree_id, root, holds)), out)


def _entries(repository: Repository, tree_id: BlobId, root: bytes, holds: Callable[[Node], bool]) -> Iterator[Entry]:
    for path, node in walk(repository, tree_id, root=root):
        if reason := invalid_name(node.name):
            raise RepositoryError(f"{_shown(path)} is not put into an archive: the name is not safe, {reason}")
        if holds(node):
            yield entry_of(repository, path.lstrip(b"/"), node)


def _write_tar(pieces: Iterator[Entry | bytes], out: Writable) -> None:
    open_bytes = 0
    for piece in pieces:
        if isinstance(piece, Entry):
            out.write(tar.padding(open_bytes) + tar.header(piece))
            open_bytes = piece.size_bytes
        else:
            out.write(piece)
    out.write(tar.padding(open_bytes) + tar.END)


def _write_zip(pieces: Iterator[Entry | bytes], out: Writable) -> None:
    sink = _Sink(out)
    archive = zipfile.ZipFile(sink, "w")
    content = None
    try:
        for piece in pieces:
            if isinstance(piece, Entry):
                if content is not None:
                    content.close()
                content = archive.open(info(piece), "w", force_zip64=piece.size_bytes > _MAX_PLAIN_ZIP_BYTES)
                if piece.node.type is NodeType.SYMLINK:
                    content.write(piece.node.link_target)
            elif content is not None:
                content.write(piece)
        if content is not None:
            content.close()
        archive.close()
    except BaseException:
        # zipfile would end the archive when it is collected, and what is cut would look whole; or it would complain
        # of the entry that is still open, depending on which of the two is collected first. So both end here, unheard.
        sink.out = None
        with suppress(Exception):
            if content is not None:
                content.close()
        with suppress(Exception):
            archive.close()
        raise


class _Sink:
    """Passes writes on until `out` is taken away. No `tell`, no `seek`: for zipfile, this is a pipe."""

    def __init__(self, out: Writable) -> None:
        self.out: Writable | None = out

    def write(self, data: bytes) -> int:
        if self.out is not None:
            self.out.write(data)
        return len(data)

    def flush(self) -> None:
        return

    def close(self) -> None:
        return


def _fits_zip(node: Node) -> bool:
    return node.type in _ZIP_TYPES


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")

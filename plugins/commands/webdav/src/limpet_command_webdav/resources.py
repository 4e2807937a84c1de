"""Entries of snapshots as resources of WsgiDAV.

A symbolic link is a small file whose name ends with `.rclonelink`: WebDAV knows no links, and a file that seems to
hold what the link leads to would be a lie in every copy. Devices, pipes and sockets are not there at all.
"""

from __future__ import annotations

import hashlib
import io
import mimetypes
from collections.abc import Iterator

from limpet.format.node import Node, NodeType
from limpet.format.timestamps import NS_PER_S
from limpet.operations.browse import Browser, Entry, FileReader
from wsgidav.dav_provider import DAVCollection, DAVNonCollection

from limpet_command_webdav.guard import Environ
from limpet_command_webdav.names import LINK_SUFFIX, shown, text_of, url_path

_LAST_TIME_S = 253_402_300_799  # the end of the year 9999: HTTP's dates go no further
SAFE_TO_SHOW = [
    # A page out of a snapshot must not read the rest of it by a script: all are of one origin to a browser.
    ("Content-Security-Policy", "script-src 'none'; object-src 'none'; frame-src 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    # Nor a page from elsewhere take a file for a script or a picture of its own, and learn of what is in it.
    ("Cross-Origin-Resource-Policy", "same-origin"),
]


class FileResource(DAVNonCollection):  # type: ignore[misc]  # WsgiDAV has no types
    """A regular file, or what stands for a symbolic link."""

    def __init__(self, path: str, environ: Environ, entry: Entry, browser: Browser) -> None:
        super().__init__(path, environ)
        self.node = entry.node
        self._browser = browser
        self._reader: FileReader | None = None

    def get_content_length(self) -> int:
        """Of a file that is being read, what its blobs hold: the node may say something else."""
        if self.node.type is NodeType.SYMLINK:
            return len(self.node.link_target)
        return self.node.size if self._reader is None else self._reader.size_bytes

    def open(self) -> None:
        """Get ready to be read; LimpetError if that cannot be."""
        if self.node.type is NodeType.FILE:
            self._reader = self._browser.open(self.node)

    def get_content(self) -> io.BufferedIOBase:
        """The content as a stream; `open` comes first."""
        return io.BytesIO(self.node.link_target) if self._reader is None else _Stream(self._reader)

    def get_content_type(self) -> str:
        kind, packed = mimetypes.guess_type(shown(self.name), strict=False)
        return kind if kind and not packed else "application/octet-stream"

    def get_etag(self) -> str:
        """Changes with the content alone: it is the hash of its hashes."""
        content = b"".join(self.node.content or ()) + self.node.link_target
        return hashlib.sha256(content).hexdigest()[:32]

    def support_etag(self) -> bool:
        return True

    def support_ranges(self) -> bool:
        return True

    def get_last_modified(self) -> int:
        return last_modified(self.node)

    def get_display_name(self) -> str:
        return shown(self.name)

    def get_href(self) -> str:
        return url_path(self.path)

    def get_ref_url(self) -> str:
        return url_path(self.path)

    def finalize_headers(self, environ: Environ, response_headers: list[tuple[str, str]]) -> None:
        response_headers += SAFE_TO_SHOW


class FolderResource(DAVCollection):  # type: ignore[misc]  # as above
    """A view, or a folder of a snapshot."""

    def __init__(self, path: str, environ: Environ, entry: Entry, browser: Browser) -> None:
        super().__init__(path, environ)
        assert entry.folder is not None
        self._folder = entry.folder
        self._browser = browser
        self.node = entry.node

    def members(self) -> Iterator[FileResource | FolderResource]:
        """What is in it, one after the other, without what WebDAV cannot show; LimpetError at once or later."""
        below = self.path.rstrip("/")
        return (
            resource_of(f"{below}/{text_of(dav_name(entry.node))}", self.environ, entry, self._browser)
            for entry in self._folder.entries()
            if is_shown(entry.node)
        )

    def get_member_names(self) -> list[str]:
        return [member.name for member in self.members()]

    def get_last_modified(self) -> int:
        return last_modified(self.node)

    def get_display_name(self) -> str:
        return shown(self.name)

    def get_href(self) -> str:
        return url_path(f"{self.path.rstrip('/')}/")

    def get_ref_url(self) -> str:
        return self.get_href()


def resource_of(path: str, environ: Environ, entry: Entry, browser: Browser) -> FileResource | FolderResource:
    """The resource of an entry that is shown."""
    kind = FileResource if entry.folder is None else FolderResource
    return kind(path, environ, entry, browser)


def is_shown(node: Node) -> bool:
    """Whether WebDAV has anything to show it as."""
    return node.type in {NodeType.FILE, NodeType.DIR, NodeType.SYMLINK}


def dav_name(node: Node) -> bytes:
    """The name that it is shown by."""
    return node.name + LINK_SUFFIX if node.type is NodeType.SYMLINK else node.name


def last_modified(node: Node) -> int:
    """Seconds, as far as HTTP can tell them."""
    return min(max(node.mtime.ns // NS_PER_S, 0), _LAST_TIME_S)


class _Stream(io.BufferedIOBase):
    """A file's content, as WsgiDAV reads it."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        self._position = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        self._position = offset
        return offset

    def read(self, size: int | None = -1, /) -> bytes:
        length = self._reader.size_bytes - self._position if size is None or size < 0 else size
        data = self._reader.read(self._position, length)
        self._position += len(data)
        return data

    def close(self) -> None:
        self._reader.close()
        super().close()


Resource = FileResource | FolderResource

"""The browser as a provider of WsgiDAV: finds resources, and answers what the library would hold in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from limpet.errors import LimpetError, NotFoundError
from limpet.format.node import NodeType
from limpet.operations.browse import Browser, Entry
from wsgidav.dav_provider import DAVProvider
from wsgidav.util import parse_time_string

from limpet_command_webdav import listing
from limpet_command_webdav.guard import Application, Environ, StartResponse, answer
from limpet_command_webdav.multistatus import asked, multistatus, properties_asked
from limpet_command_webdav.names import LINK_SUFFIX, bytes_of, shown, url_path
from limpet_command_webdav.ranges import keep_simple_range
from limpet_command_webdav.resources import FileResource, FolderResource, Resource, is_shown, resource_of

_FOUND = "limpet.found"
"""Where a request keeps its resource: the library asks for it again."""
SHORT_PIECES = 8
"""Pieces of an answer that are made before its beginning is sent."""


class SnapshotProvider(DAVProvider):  # type: ignore[misc]  # WsgiDAV has no types
    """Read-only."""

    def __init__(self, browser: Browser, warn: Callable[[str], None]) -> None:
        super().__init__()
        self._browser = browser
        self._warn = warn

    def is_readonly(self) -> bool:
        return True

    def get_resource_inst(self, path: str, environ: Environ) -> Resource | None:
        """The resource at the path, None if there is none; LimpetError if a folder on the way cannot be read."""
        found: tuple[str, Resource | None] | None = environ.get(_FOUND)
        if found is None or found[0] != path:
            self._browser.refresh()
            entry = self._find(bytes_of(path))
            resource = None if entry is None else resource_of(path, environ, entry, self._browser)
            environ[_FOUND] = found = (path, resource)
        return found[1]

    def custom_request_handler(
        self, environ: Environ, start_response: StartResponse, default_handler: Application
    ) -> Iterable[bytes]:
        """Answer for folders here, as streams; files are the library's."""
        path = environ["PATH_INFO"]
        try:
            resource = self.get_resource_inst(path, environ)
            if resource is None:
                return answer(environ, start_response, "404 Not Found", f"there is no {shown(path)}")
            if environ["REQUEST_METHOD"] == "PROPFIND":
                return self._propfind(resource, environ, start_response)
            if environ["REQUEST_METHOD"] != "OPTIONS":
                if isinstance(resource, FolderResource):
                    return self._page(resource, environ, start_response)
                if _is_of_the_same_second(environ, resource):
                    start_response("304 Not Modified", [("ETag", f'"{resource.get_etag()}"')])
                    return []
                resource.open()
                keep_simple_range(environ)
        except LimpetError as error:
            self._tell(path, error)
            return answer(environ, start_response, "500 Internal Server Error", str(error))
        return default_handler(environ, start_response)

    def _find(self, path: bytes) -> Entry | None:
        """The entry that is shown at the path."""
        try:
            entry = self._browser.find(path)
            if is_shown(entry.node) and entry.node.type is not NodeType.SYMLINK:
                return entry
        except NotFoundError:
            if path.endswith(LINK_SUFFIX):
                return self._link(path.removesuffix(LINK_SUFFIX))
        return None

    def _link(self, path: bytes) -> Entry | None:
        try:
            entry = self._browser.find(path)
        except NotFoundError:
            return None
        return entry if entry.node.type is NodeType.SYMLINK else None

    def _propfind(self, resource: Resource, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        resources = asked(resource, environ)
        wanted = properties_asked(environ)
        headers = [("Content-Type", "application/xml; charset=utf-8")]
        pieces = multistatus(resources, wanted)
        return self._streamed(resource, start_response, "207 Multi-Status", headers, pieces)

    def _page(self, folder: FolderResource, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not folder.path.endswith("/"):
            location = f"./{url_path(folder.name)}/"
            start_response("301 Moved Permanently", [("Location", location), ("Content-Length", "0")])
            return []
        if environ["REQUEST_METHOD"] == "HEAD":
            start_response("200 OK", listing.HEADERS)
            return []
        pieces = listing.page(folder, folder.members())
        return self._streamed(folder, start_response, "200 OK", listing.HEADERS, pieces)

    def _streamed(
        self,
        resource: Resource,
        start_response: StartResponse,
        status: str,
        headers: Sequence[tuple[str, str]],
        pieces: Iterator[bytes],
    ) -> Iterable[bytes]:
        """The answer; of a short one the length is told, and so the connection lasts."""
        first: list[bytes] = []
        for piece in pieces:
            first.append(piece)
            if len(first) > SHORT_PIECES:
                start_response(status, headers)
                return self._telling(resource, chain(first, pieces))
        start_response(status, [*headers, ("Content-Length", str(sum(map(len, first))))])
        return first

    def _telling(self, resource: Resource, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces; an answer that breaks off is told here too."""
        try:
            yield from pieces
        except LimpetError as error:
            self._tell(resource.path, error)
            raise

    def _tell(self, path: str, error: LimpetError) -> None:
        self._warn(f"{shown(path)}: {error}")


def _is_of_the_same_second(environ: Environ, file: FileResource) -> bool:
    """Whether a client asks about a copy with the file's own time, which WsgiDAV takes for an older one."""
    since = environ.get("HTTP_IF_MODIFIED_SINCE")
    return bool(since and "HTTP_IF_NONE_MATCH" not in environ and parse_time_string(since) == file.get_last_modified())

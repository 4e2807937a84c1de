"""The answer to PROPFIND, as a stream: a folder of 100,000 entries must not be in memory as a tree of XML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from wsgidav import util, xml_tools
from wsgidav.dav_error import HTTP_BAD_REQUEST, HTTP_FORBIDDEN, DAVError, PRECONDITION_CODE_PropfindFiniteDepth
from wsgidav.util import etree

from limpet_command_webdav.guard import Environ
from limpet_command_webdav.resources import FileResource, FolderResource, Resource

WRITTEN_AT_ONCE = 200
_BEGIN = b'<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">'
_END = b"</D:multistatus>"


def asked(resource: Resource, environ: Environ) -> Iterable[Resource]:
    """What the request is about, by its depth; DAVError for one that has no end, LimpetError as `members`."""
    depth = environ.get("HTTP_DEPTH", "infinity").lower()
    if depth not in {"0", "1"}:
        raise DAVError(HTTP_FORBIDDEN, err_condition=PRECONDITION_CODE_PropfindFiniteDepth)
    if depth == "0" or isinstance(resource, FileResource):
        return [resource]
    return _with_members(resource, resource.members())


def _with_members(folder: FolderResource, members: Iterator[Resource]) -> Iterator[Resource]:
    yield folder
    yield from members


def properties_asked(environ: Environ) -> tuple[str, list[str] | None]:
    """Mode and names, as WsgiDAV's `get_properties` takes them; DAVError for what is no PROPFIND."""
    root = util.parse_xml_body(environ, allow_empty=True)
    if root is None:
        return "allprop", None
    kinds = {child.tag: child for child in root}
    if root.tag == "{DAV:}propfind" and len(kinds) >= 1:
        if (named := kinds.get("{DAV:}prop")) is not None:
            return "named", [child.tag for child in named]
        if "{DAV:}propname" in kinds:
            return "name", None
        if "{DAV:}allprop" in kinds:
            return "allprop", None
    raise DAVError(HTTP_BAD_REQUEST)


def multistatus(resources: Iterable[Resource], mode: str, names: list[str] | None) -> Iterator[bytes]:
    """The document, in pieces."""
    yield _BEGIN
    remaining = iter(resources)
    while batch := list(islice(remaining, WRITTEN_AT_ONCE)):
        yield b"".join(_response(resource, mode, names) for resource in batch)
    yield _END


def _response(resource: Resource, mode: str, names: list[str] | None) -> bytes:
    parent = xml_tools.make_multistatus_el()
    util.add_property_response(parent, resource.get_href(), resource.get_properties(mode, name_list=names))
    written: bytes = etree.tostring(parent[0], encoding="utf-8")
    return written.partition(b"?>\n")[2] if written.startswith(b"<?xml") else written

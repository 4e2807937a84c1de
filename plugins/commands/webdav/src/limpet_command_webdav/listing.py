"""A folder as a page for browsers: no scripts, a line an entry, written while the folder is read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from html import escape
from itertools import islice

from limpet.cli.formatting import format_bytes
from limpet.format.node import NodeType

from limpet_command_webdav.names import shown, text_of, url_path
from limpet_command_webdav.resources import FolderResource, Resource, last_modified

WRITTEN_AT_ONCE = 500
HEADERS = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ("Cache-Control", "no-cache"),
]
_STYLE = "body{font-family:sans-serif}td{padding:0 1em 0 0}td.n{text-align:right;white-space:nowrap}"


def page(folder: FolderResource, members: Iterable[Resource]) -> Iterator[bytes]:
    """The page, in pieces."""
    title = escape(shown(folder.path.rstrip("/") or "/"))
    yield (
        f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n<table>\n"
    ).encode()
    if folder.path.strip("/"):
        yield b'<tr><td><a href="../">..</a></td></tr>\n'
    remaining = iter(members)
    while batch := list(islice(remaining, WRITTEN_AT_ONCE)):
        yield "".join(map(_line, batch)).encode()
    yield b"</table></body></html>\n"


def _line(resource: Resource) -> str:
    node = resource.node
    name, size = shown(text_of(node.name)), ""
    if node.type is NodeType.DIR:
        name += "/"
    elif node.type is NodeType.SYMLINK:
        name += f" → {shown(text_of(node.link_target))}"
    else:
        size = format_bytes(node.size)
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last_modified(node)))
    # Relative: right behind a proxy that puts a folder before our paths, too.
    href = escape(f"./{url_path(resource.name)}{'/' if resource.is_collection else ''}")
    return f'<tr><td><a href="{href}">{escape(name)}</a></td><td class="n">{size}</td><td class="n">{date}</td></tr>\n'

"""Names and paths of snapshots, which are bytes, as text that HTTP, XML and people get to see."""

from __future__ import annotations

import re
from urllib.parse import quote

LINK_SUFFIX = b".rclonelink"
"""rclone's mark of a symbolic link: a small file of this name that holds the target (its option `--links`)."""
_NO_HREF_QUOTES = "/!*'(),$-_|."
"""What GNOME's files do not recognise in quotes."""
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text_of(name: bytes) -> str:
    """The bytes as WsgiDAV's paths hold them: those that are no UTF-8 as lone surrogates."""
    return name.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """What `text_of` was made of."""
    return text.encode("utf-8", "surrogateescape")


def url_path(path: str) -> str:
    """The path as it stands in a URL: every byte is kept."""
    return quote(bytes_of(path), safe=_NO_HREF_QUOTES)


def shown(name: str) -> str:
    """The name for people: what no XML can hold is shown as U+FFFD."""
    return _NOT_IN_XML.sub("\ufffd", name)

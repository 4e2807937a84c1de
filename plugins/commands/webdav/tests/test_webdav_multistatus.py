"""The answer to PROPFIND is written piece by piece."""

from __future__ import annotations

import io
from xml.etree import ElementTree

from limpet.operations.browse import Browser
from limpet.testing.handmade import Handmade
from limpet_command_webdav.guard import Environ
from limpet_command_webdav.multistatus import NAMES_LIMIT_BYTES, PIECE_LENGTH, multistatus, properties_asked
from limpet_command_webdav.provider import SnapshotProvider

ENTRIES = 300


def test_pieces_are_bounded_whatever_is_asked() -> None:
    """Names of properties, escaped, come again for each entry: a few requests would fill the memory."""
    browser = Browser(Handmade().repository)
    names = "".join(f'<x xmlns="{number:02d}{"&amp;" * 80}"/>' for number in range(NAMES_LIMIT_BYTES // 86))
    body = f'<propfind xmlns="DAV:"><prop>{names}</prop></propfind>'.encode()
    provider = SnapshotProvider(browser, print)
    environ: Environ = {"wsgi.input": io.BytesIO(body), "wsgidav.provider": provider}
    wanted = properties_asked(environ)
    assert len(wanted.properties) > 90
    root = provider.get_resource_inst("/", environ)
    assert root is not None
    pieces = list(multistatus([root] * ENTRIES, wanted))
    assert max(map(len, pieces)) < 2 * PIECE_LENGTH
    document = ElementTree.fromstring(b"".join(pieces))
    assert len(document) == ENTRIES
    assert all(len(list(response.iter("{DAV:}prop"))[-1]) == len(wanted.properties) for response in document)
    browser.close()

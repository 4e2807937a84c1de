"""Uploads that stop on their way, and what the server has of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.serve.cases import CHUNKED, KINDS
from tests.serve.wire import Wire, request
from tests.services.rest_server import RestServer
from tests.services.waiting import wait_for

MIB = 1 << 20
LARGE = hashlib.shake_128(b"large").digest(4 * MIB)
LARGE_ID = hashlib.sha256(LARGE).hexdigest()


def make_repository(server: RestServer) -> None:
    """The empty repository `r`."""
    for kind in KINDS:
        (server.data / "r" / kind).mkdir(parents=True)


def files_of(server: RestServer) -> dict[str, int]:
    """Every file below the server's folder with its size, temporary ones among them."""
    root = server.data
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}


def unfinished(server: RestServer) -> int:
    """How many files with something in them the server has open below its folder, also such that have no name."""
    found = 0
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        try:
            is_below = str(descriptor.readlink()).startswith(str(server.data))
            found += is_below and descriptor.is_file() and descriptor.stat().st_size > 0
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def begun(server: RestServer, kind: str, sent_bytes: int, *, in_chunks: bool = False) -> Wire:
    """An upload of which the server has so many bytes on its disk, and that goes no further."""
    before = unfinished(server)
    wire = Wire(server)
    if in_chunks:
        head = request("POST", f"/r/{kind}/{LARGE_ID}", [CHUNKED])
        wire.send(head + b"%x\r\n" % len(LARGE) + LARGE[:sent_bytes])
    else:
        wire.send(request("POST", f"/r/{kind}/{LARGE_ID}", body=LARGE)[: -len(LARGE)] + LARGE[:sent_bytes])
    wait_for(lambda: unfinished(server) > before, "the upload's temporary file")
    return wire

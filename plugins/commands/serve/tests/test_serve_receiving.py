"""Uploads as they come in: how much of one is taken at a time."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

from limpet.contracts.backend import FileKind
from limpet_command_serve.body import ChunkedBody
from limpet_command_serve.channel import PlainChannel
from limpet_command_serve.exchange import Exchange
from limpet_command_serve.folder_store import FolderStore
from limpet_command_serve.names import StoredFile
from limpet_command_serve.receiving import PIECES_A_STEP, Receiving
from limpet_command_serve.store import Outcome

BYTES = 10 * PIECES_A_STEP


def test_one_upload_does_not_keep_a_thread_for_itself(tmp_path: Path) -> None:
    """Sixteen clients who send each byte as a chunk of its own had all threads for minutes, and nobody was answered."""
    content = b"x" * BYTES
    store = FolderStore(str(tmp_path))
    store.create(())
    file = StoredFile((), FileKind.PACK, hashlib.sha256(content).hexdigest())
    ours, peer = socket.socketpair()
    with ours, peer:
        ours.setblocking(False)
        peer.sendall(b"1\r\nx\r\n" * BYTES + b"0\r\n\r\n")
        exchange = Exchange(0.0, "", "POST", "/")
        receiving = Receiving(exchange, file, ChunkedBody(PlainChannel(ours), b""), store, (), verifies=True)
        buffer, taken, outcome = memoryview(bytearray(64)), 0, None
        while outcome is None:
            outcome = receiving.step(buffer, BYTES)
            assert exchange.received_bytes - taken <= PIECES_A_STEP
            taken = exchange.received_bytes
    assert outcome is Outcome.STORED
    assert taken == BYTES

"""Storage that fails in the middle of a request: the client is told so, if that is possible at all."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from limpet.errors import BackendError
from limpet_command_serve.body import SizedBody
from limpet_command_serve.channel import PlainChannel
from limpet_command_serve.connection import Connection
from limpet_command_serve.exchange import Exchange
from limpet_command_serve.folder_store import FileReading, FolderStore
from limpet_command_serve.half_heads import HalfHeads
from limpet_command_serve.head import parse_plain_head
from limpet_command_serve.names import StoredFile
from limpet_command_serve.protocol import Protocol, Request
from limpet_command_serve.store import Reading
from limpet_command_serve.waiting import Sockets
from limpet_command_serve.workers import Workers

ID = "ab" * 32
SMALL, LARGE = 100, 100_000
LIMIT_S = 60.0


class FailingReading(Reading):
    """A file that can be opened, and whose bytes from some place on cannot be read."""

    def __init__(self, size_bytes: int, fail: Callable[[], int], good_bytes: int = 0) -> None:
        self.size_bytes = size_bytes
        self._fail = fail
        self._good_bytes = good_bytes

    def read_into(self, offset_bytes: int, buffer: memoryview) -> int:
        return min(self._good_bytes - offset_bytes, len(buffer)) or self._fail()

    def close(self) -> None:
        return


class FailingStore(FolderStore):
    """Has this one file."""

    def __init__(self, root: Path, reading: Reading) -> None:
        super().__init__(str(root))
        self._reading = reading

    def open(self, file: StoredFile) -> Reading:
        return self._reading


def fail_as_disks_do() -> int:
    """As a store tells of an I/O error."""
    raise BackendError("cannot read a file: input/output error")


def fail_as_programs_do() -> int:
    """As a mistake of ours."""
    raise LookupError("a mistake")


def ended_early() -> int:
    """As a file that became shorter."""
    return 0


@pytest.mark.parametrize("size_bytes", [SMALL, LARGE])
@pytest.mark.parametrize("fail", [fail_as_disks_do, fail_as_programs_do, ended_early])
def test_file_that_cannot_be_read(tmp_path: Path, size_bytes: int, fail: Callable[[], int]) -> None:
    """A connection that just ends is taken for a bad network, and tried again for a quarter of an hour."""
    answer, told, keeps_connection = get(FailingStore(tmp_path, FailingReading(size_bytes, fail)))
    if size_bytes == SMALL:
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert keeps_connection
    else:  # its head goes out before anything is read
        assert not keeps_connection
    assert len(told) == 1


def test_file_that_breaks_off(tmp_path: Path) -> None:
    """Nothing more may come behind half a file: the client would take it for the other half."""
    answer, _, keeps_connection = get(FailingStore(tmp_path, FailingReading(LARGE, fail_as_disks_do, LARGE // 2)))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 500" not in answer
    assert not keeps_connection


def test_file_on_a_broken_disk(tmp_path: Path) -> None:
    """An I/O error that the kernel meets while it sends a file is the disk's: a client who goes is not worth a line."""
    with FileReading(os.open("/proc/self/mem", os.O_RDONLY), LARGE) as unreadable:  # nothing is at address 0
        answer, told, keeps_connection = get(FailingStore(tmp_path, unreadable))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert told == ["cannot read a file: input/output error"]
    assert not keeps_connection


def get(store: FolderStore) -> tuple[bytes, Sequence[str], bool]:
    """The answer to a request for the file, what the server told of it, and whether it would take another request."""
    told: list[str] = []
    sockets = Sockets()

    async def run() -> tuple[bytes, bool]:
        workers = Workers()
        ours, peer = socket.socketpair()
        with ours, peer:
            ours.setblocking(False)
            channel = PlainChannel(ours)
            wait = sockets.add(channel.descriptor)
            connection = Connection(channel, "", workers, wait, HalfHeads(), stall_timeout_s=LIMIT_S)
            plain = parse_plain_head(f"GET /r/keys/{ID} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            assert plain is not None
            request = Request(connection, Exchange(0.0, "", "GET", plain[0].path), plain[0], SizedBody(channel, 0, b""))
            await Protocol(store, [], verifies_uploads=True, tell=told.append).serve(request)
            answer = peer.recv(2 * LARGE)
            connection.close()
        workers.close(LIMIT_S)
        return answer, request.keeps_connection

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(sockets)) as runner:
        answer, keeps_connection = runner.run(run())
    return answer, told, keeps_connection

"""`limpet serve` under many clients at once, slow ones and ones that do nothing: others are served, memory stays."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from limpet.testing.certificates import identity

from tests.serve.cases import DATA, ID, KINDS, V2
from tests.serve.memory import MEMORY_LIMIT_BYTES, peak_memory_bytes
from tests.serve.uploading import LARGE, MIB, begun, unfinished
from tests.serve.wire import TIMEOUT_S, Wire, ask, connect, request
from tests.services.rest_server import LimpetServer, RestServer
from tests.services.waiting import wait_for

IDLE = 3000
SLOW = 200
CLIENTS = 100
DOWNLOAD_BYTES = 64 * MIB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LimpetServer]:
    """A new server with the repository `r`, which has one file."""
    server = LimpetServer(tmp_path)
    make_repository(server)
    yield server
    server.close()


def make_repository(server: RestServer) -> None:
    """The repository `r` with one file."""
    for kind in KINDS:
        (server.data / "r" / kind).mkdir(parents=True)
    assert ask(server, "POST", f"/r/keys/{ID}", body=DATA).status == 200


def large_file(server: RestServer) -> Path:
    """A file of the repository that fits into no socket's buffer."""
    path = server.data / "r" / "data" / "00" / ("0" * 64)
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(DOWNLOAD_BYTES)
    return path


def is_served(server: RestServer) -> bool:
    """Whether another client can write, list, read and remove."""
    target = f"/r/locks/{ID}"
    answers = [
        ask(server, "POST", target, body=DATA),
        ask(server, "GET", target),
        ask(server, "GET", "/r/keys/", [V2]),
        ask(server, "DELETE", target),
    ]
    return [answer.status for answer in answers] == [200] * 4 and answers[1].body == DATA


def test_idle_connections(server: LimpetServer) -> None:
    """Clients keep connections open, and attackers open them by the thousand: none of it is anybody else's loss."""
    with ExitStack() as stack:
        idle = [stack.enter_context(Wire(server)) for _ in range(IDLE)]
        for wire in idle[: IDLE // 2]:
            wire.send(request("HEAD", f"/r/keys/{ID}"))
        assert {wire.answer("HEAD").status for wire in idle[: IDLE // 2]} == {200}
        assert is_served(server)
        assert idle[0].ask("GET", f"/r/keys/{ID}").body == DATA
    assert is_served(server)
    assert peak_memory_bytes(server) < MEMORY_LIMIT_BYTES


def test_slow_headers_and_bodies(server: LimpetServer) -> None:
    """Clients that send a byte now and then are no reason for others to wait."""
    head = request("POST", f"/r/data/{ID}", body=DATA)
    with ExitStack() as stack:
        slow = [stack.enter_context(Wire(server)) for _ in range(SLOW)]
        for position in range(0, len(head) - 1, len(head) // 8):
            for wire in slow:
                wire.send(head[position : position + 1])
            assert is_served(server)
    with ExitStack() as stack:
        slow = [stack.enter_context(Wire(server)) for _ in range(SLOW)]
        for wire in slow:
            wire.send(head[: -len(DATA)])
        for position in range(len(DATA) - 1):
            for wire in slow:
                wire.send(DATA[position : position + 1])
            if position % 8 == 0:
                assert is_served(server)
        for wire in slow:
            wire.send(DATA[-1:])
        assert {wire.answer("POST").status for wire in slow} == {200}
    assert is_served(server)


def test_headers_that_never_end(tmp_path: Path) -> None:
    """A connection on which no request ever comes is given up, or each of them would hold a descriptor for ever."""
    server = LimpetServer(tmp_path, "--header-timeout", "1s")
    try:
        with Wire(server) as silent, Wire(server) as slow:
            slow.send(b"GET / HTTP/1.1\r\nX-Slow: ")
            assert slow.ended()
            assert silent.ended()
    finally:
        server.close()


def test_bodies_that_stand_still(tmp_path: Path) -> None:
    """An upload or download on which nothing moves is given up, with what it holds."""
    server = LimpetServer(tmp_path, "--stall-timeout", "1s")
    try:
        make_repository(server)
        path = large_file(server)
        with begun(server, "data", MIB) as upload, Wire(server) as download:
            download.send(request("GET", f"/r/data/{path.name}"))
            assert upload.ended()
            wait_for(lambda: unfinished(server) == 0, "the end of both")
            assert is_served(server)
    finally:
        server.close()


def test_more_connections_than_allowed(tmp_path: Path) -> None:
    """Whoever opens all connections there may be does not keep others out, and no upload is cut for a new client."""
    server = LimpetServer(tmp_path, "--max-connections", "20")
    try:
        make_repository(server)
        with ExitStack() as stack:
            uploads = [stack.enter_context(begun(server, "data", MIB)) for _ in range(5)]
            for _ in range(100):
                stack.enter_context(Wire(server)).send(b"GET / HTTP/1.1\r\nX-Slow: ")
            assert is_served(server)
            for upload in uploads:
                upload.send(LARGE[MIB:])
            assert [upload.answer("POST").status for upload in uploads] == [200] * len(uploads)
    finally:
        server.close()


def test_uploads_take_all_connections(tmp_path: Path) -> None:
    """A limit that new clients pass as soon as all others are busy is none: descriptors and memory run out."""
    server = LimpetServer(tmp_path, "--max-connections", "3")
    try:
        make_repository(server)
        with ExitStack() as stack:
            uploads = [stack.enter_context(begun(server, "data", MIB)) for _ in range(3)]
            wire = stack.enter_context(Wire(server, 0.5))
            wire.send(request("GET", f"/r/keys/{ID}"))
            with pytest.raises(TimeoutError):
                wire.socket.recv(1)
            wire.socket.settimeout(TIMEOUT_S)
            uploads[0].send(LARGE[MIB:])
            assert uploads[0].answer("POST").status == 200
            assert wire.socket.recv(12) == b"HTTP/1.1 200"
            assert uploads[0].ended()
    finally:
        server.close()


def test_halves_of_heads(server: LimpetServer) -> None:
    """Ten thousand clients that each send most of a head and no more would have the server hold all of it."""
    with ExitStack() as stack:
        halves = [stack.enter_context(Wire(server)) for _ in range(IDLE)]
        for wire in halves:
            wire.send(b"GET / HTTP/1.1\r\nX-Long: " + bytes(8000).replace(b"\0", b"x"))
        assert halves[0].ended()
        halves[-1].send(b"\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert halves[-1].answer().status == 405
        assert is_served(server)
    assert peak_memory_bytes(server) < MEMORY_LIMIT_BYTES


def test_handshakes_that_never_end(tmp_path: Path) -> None:
    """With TLS a client can stop even before its first request, or send something else."""
    server = LimpetServer(tmp_path, identity=identity("server"))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with ExitStack() as stack:
            for number in range(SLOW):
                stack.enter_context(Wire(server)).send(b"\x16\x03\x01" if number % 2 else b"GET / HTTP/1.1\r\n\r\n")
            with context.wrap_socket(connect(server)) as connection:
                connection.sendall(request("GET", "/r/config"))
                assert connection.recv(12) == b"HTTP/1.1 404"
    finally:
        server.close()


def test_floods_after_a_refusal(server: LimpetServer) -> None:
    """Clients that go on sending what was refused keep nobody else waiting."""
    ending = threading.Event()

    def flood() -> None:
        while not ending.is_set():
            with Wire(server) as wire, suppress(ConnectionError):
                wire.send(request("POST", "/r/data/none", [("Content-Length", str(1 << 50))]))
                while not ending.is_set():
                    wire.send(bytes(MIB))

    with ThreadPoolExecutor(3) as pool:
        floods = [pool.submit(flood) for _ in range(3)]
        try:
            assert all(is_served(server) for _ in range(20))
        finally:
            ending.set()
        for one in floods:
            one.result()


def test_downloads_that_nobody_reads(server: LimpetServer) -> None:
    """A restore that was suspended must neither fill the server's memory nor hold up other clients."""
    path = large_file(server)
    with ExitStack() as stack:
        stuck = [stack.enter_context(Wire(server)) for _ in range(CLIENTS)]
        for wire in stuck:
            wire.send(request("GET", f"/r/data/{path.name}"))
        assert is_served(server)
        assert len(stuck[0].answer().body) == DOWNLOAD_BYTES
        assert is_served(server)
    assert is_served(server)
    assert peak_memory_bytes(server) < MEMORY_LIMIT_BYTES


def test_half_closed_connections(server: LimpetServer) -> None:
    """A client that says it will send no more still wants its answer."""
    for _ in range(CLIENTS):
        with Wire(server) as wire:
            answers = wire.answers_to(request("GET", f"/r/keys/{ID}") * 2)
            assert [answer.body for answer in answers] == [DATA, DATA]


def test_connections_that_are_dropped(server: LimpetServer) -> None:
    """What crashed clients leave behind does not add up."""
    before = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    for number in range(10 * CLIENTS):
        wire = Wire(server)
        wire.send(request("POST", f"/r/data/{'0' * 64}", body=bytes(MIB))[: number * 100])
        (wire.reset if number % 2 else wire.close)()
    assert is_served(server)
    wait_for(lambda: len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) <= before + 5, "closing")

"""`limpet serve` under many clients at once, slow ones and ones that do nothing: others are served, memory stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serve.cases import DATA, ID, KINDS, V2
from tests.serve.memory import MEMORY_LIMIT_BYTES, peak_memory_bytes
from tests.serve.wire import Wire, ask, request
from tests.services.rest_server import LimpetServer, RestServer
from tests.services.waiting import wait_for

MIB = 1 << 20
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


def test_downloads_that_nobody_reads(server: LimpetServer) -> None:
    """A restore that was suspended must neither fill the server's memory nor hold up other clients."""
    path = server.data / "r" / "data" / "00" / ("0" * 64)
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(DOWNLOAD_BYTES)
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

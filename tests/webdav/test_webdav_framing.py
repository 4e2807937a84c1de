"""Where a request ends: no proxy in front may see another end, or one client's bytes become another's request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from limpet_command_webdav.address import Address
from limpet_command_webdav.connection import Received
from limpet_command_webdav.guard import Environ, StartResponse
from limpet_command_webdav.server import ViewServer

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """The paths that were asked for."""
    return []


@pytest.fixture(scope="module")
def port(asked: list[str]) -> Iterator[int]:
    """Of a server that reads no bodies."""

    def note(environ: Environ, begin: StartResponse) -> list[bytes]:
        asked.append(environ["PATH_INFO"])
        begin("200 OK", [("Content-Length", "2")])
        return [b"hi"]

    with ViewServer(Address("127.0.0.1", 0), note, lambda _text: None) as server:
        yield server.address.port


def said(port: int, request: bytes) -> bytes:
    """All that is answered until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        line.sendall(request)
        with line.makefile("rb") as answers:
            return answers.read()


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Length: 0\r\nContent-Length: %d",
        b"Content-Length: %d\r\nContent-Length: 0",
        b"Content-Length: 0\r\n %d",
        b" X: 1\r\nContent-Length: %d",
        b"Content-Length : %d",
        b"Content-Length: +%d",
        b"Content-Length: 0_%d",
        b"Content-Length: %d\x0b",
        b"Content-Length: %d\nX: 1",
        b"Content-Length",
    ],
)
def test_lengths_that_can_be_read_in_two_ways(port: int, asked: list[str], field: bytes) -> None:
    """One of the two would take the body for a request: such a head is refused, and nothing behind it is looked at."""
    asked.clear()
    field = field % len(SMUGGLED) if b"%d" in field else field
    answer = said(port, b"PUT /x HTTP/1.1\r\nHost: localhost\r\n" + field + b"\r\n\r\n" + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert asked == []


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0\r\nConnection: Keep-Alive\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 0",
        b"HTTP/1.1\r\nTransfer-Encoding:",
        b"HTTP/1.1\r\nTransfer-Encoding: ,",
    ],
)
def test_chunks_of_which_nobody_knows(port: int, asked: list[str], head: bytes) -> None:
    """What comes behind such a head may be a body to others: the connection ends with the answer."""
    asked.clear()
    answer = said(port, b"PUT /x " + head + b"\r\nHost: localhost\r\n\r\n" + SMUGGLED)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert "/smuggled" not in asked


def test_fields_of_one_name(port: int, asked: list[str]) -> None:
    """Fields that may come several times, and values of any letters, are no reason to refuse a request."""
    asked.clear()
    head = b"GET /x HTTP/1.1\r\nHost: localhost\r\nAccept: a\r\nAccept:\tb \r\nX:\r\nX-\xc3\xa4: 1\r\n"
    assert said(port, head + b"\r\n").startswith(b"HTTP/1.1 400")  # a name of other letters is none
    answer = said(port, head.replace(b"\xc3\xa4", b"Y") + b"Y: \xc3\xa4\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert asked == ["/x"]


def test_a_body_does_not_shorten_the_time_for_its_answer() -> None:
    """A body that came late would leave a slow client next to no time to take what it asked for."""
    client, server = socket.socketpair()
    with client, server:
        server.settimeout(60)
        received = Received(server)
        sender = threading.Timer(0.05, client.sendall, [b"body"])
        sender.start()
        assert received.read(4) == b"body"
        sender.join()
        assert server.gettimeout() == 60

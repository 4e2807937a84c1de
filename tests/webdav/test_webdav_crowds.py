"""Whoever stands still, signed in or not, keeps nobody else from reading."""

from __future__ import annotations

import base64
import http.client
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest
from limpet.contracts.guesses import FREE_GUESSES, PAUSE_S
from limpet_command_webdav import connection
from limpet_command_webdav.address import Address
from limpet_command_webdav.guard import Environ, StartResponse
from limpet_command_webdav.server import WAITING_CONNECTIONS, ViewServer

from tests.safety.program import Site
from tests.webdav.viewing import View, latest, start_view

MIB = 1 << 20
SECRET = "only for this view"
CROWD = 100
SIGNED_IN = {"Authorization": "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()}
HEADER = f"Authorization: {SIGNED_IN['Authorization']}\r\n"


@pytest.fixture(scope="module")
def source(shared_site: Site) -> Path:
    """A file that is larger than all buffers on the way."""
    folder = shared_site.folder / "source"
    folder.mkdir()
    (folder / "large").write_bytes(random.Random(1).randbytes(20 * MIB))
    shared_site.run("backup", folder)
    return folder


@pytest.fixture(scope="module")
def view(shared_site: Site, source: Path) -> Iterator[View]:
    """A view for one user."""
    shared_site.variables["LIMPET_WEBDAV_PASSWORD"] = SECRET
    view = start_view(shared_site, "--user", "ann")
    yield view
    ended = view.end()
    assert ended.code == 0
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "begun",
    [
        "",
        "GET / HTTP/1.1\r\nHost: localhost\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "PROPFIND / HTTP/1.1\r\nHost: localhost\r\nDepth: 0\r\nContent-Length: 999\r\n\r\n<x>",
        f"PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 40}\r\n\r\nx",
        "PUT /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\nx",
        f"PUT /x HTTP/1.1\r\nHost: localhost\r\n{HEADER}Content-Length: {1 << 40}\r\n\r\nx",
        f"PROPFIND / HTTP/1.1\r\nHost: localhost\r\n{HEADER}Depth: 0\r\nContent-Length: 999\r\n\r\n<x>",
        "large",
    ],
)
def test_a_crowd_that_stands_still(view: View, source: Path, begun: str) -> None:
    """A hundred who begin and do not go on, or do not read, must not stop the one who wants a file back."""
    if begun == "large":
        begun = f"GET {latest(source)}/large HTTP/1.1\r\nHost: localhost\r\n{HEADER}\r\n"
    with ExitStack() as crowd:
        for _ in range(CROWD):
            crowd.enter_context(connected(view, begun.encode()))
        answer = view.ask("GET", f"{latest(source)}/large", SIGNED_IN)
        assert answer.body == (source / "large").read_bytes()


def connected(view: View, begun: bytes) -> socket.socket:
    """A client that has sent this much and does nothing more."""
    line = socket.create_connection(("127.0.0.1", view.port), timeout=60)
    line.sendall(begun)
    return line


def test_more_connections_than_there_are_places(view: View) -> None:
    """The oldest of those who stand still have to go: without a limit descriptors run out, and nobody gets in."""
    with ExitStack() as crowd:
        lines = [crowd.enter_context(connected(view, b"GET /")) for _ in range(WAITING_CONNECTIONS + 50)]
        assert view.ask("PROPFIND", "/", {"Depth": "1", **SIGNED_IN}).status == 207
        assert lines[0].recv(1) == b""
        assert len(os.listdir(f"/proc/{view.running.pid}/fd")) < WAITING_CONNECTIONS + 100


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("PROPFIND / HTTP/1.1\r\nContent-Length: 1000000000\r\n", b"401"),
        ("PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", b"401"),
        (f"PROPFIND / HTTP/1.1\r\n{HEADER}Content-Length: 1000000000\r\n", b"413"),
        (f"PROPFIND / HTTP/1.1\r\n{HEADER}Content-Length: -5\r\n", b"400"),
        (f"PROPFIND / HTTP/1.1\r\n{HEADER}Transfer-Encoding: chunked\r\n", b"413"),
        (f"GET / HTTP/1.1\r\n{HEADER}Content-Length: 1\r\n", b"413"),
        (f"PUT /x HTTP/1.1\r\n{HEADER}Content-Length: 1000000000\r\n", b"405"),
        ("GET / HTTP/1.1\n", b"400"),
        (f"GET / HTTP/1.1\r\nX: {'x' * 70_000}\r\n", b"413"),
    ],
)
def test_answered_unread(view: View, head: str, status: bytes) -> None:
    """Who may not send a body, or one of that size, is told so before any of it is there."""
    with connected(view, f"{head}Host: localhost\r\n\r\n".encode()) as line, line.makefile("rb") as answer:
        assert answer.readline().split()[1] == status


def test_a_body_that_nobody_reads_comes_behind_its_answer(view: View) -> None:
    """A client that sends first and reads then gets the answer all the same, and goes on with its connection."""
    with connected(view, b"") as line, line.makefile("rb") as answers:
        for size in (1, 5 * MIB):
            line.sendall(f"PUT /x HTTP/1.1\r\nHost: localhost\r\n{HEADER}Content-Length: {size}\r\n\r\n".encode())
            line.sendall(bytes(size))
            assert read_answer(answers) == 405
        line.sendall(f"PROPFIND / HTTP/1.1\r\nHost: localhost\r\n{HEADER}Depth: 0\r\n\r\n".encode())
        assert read_answer(answers) == 207


def read_answer(answers: BinaryIO) -> int:
    """The status of the next answer, whose body is short, and read."""
    status = int(answers.readline().split()[1])
    answers.read(int(http.client.parse_headers(answers)["Content-Length"]))
    return status


def test_pieces_of_requests(view: View) -> None:
    """A head that comes letter by letter, and two requests at once: both are how networks are."""
    asked = f"PROPFIND / HTTP/1.1\r\nHost: localhost\r\n{HEADER}Depth: 0\r\nContent-Length: 0\r\n\r\n".encode()
    with connected(view, b"") as line, line.makefile("rb") as answers:
        for letter in asked:
            line.sendall(bytes([letter]))
        assert read_answer(answers) == 207
        line.sendall(asked + asked + asked[:50])
        assert [read_answer(answers) for _ in range(2)] == [207, 207]
        line.sendall(asked[50:])
        assert read_answer(answers) == 207


@pytest.mark.parametrize("head", ["GET / HTTP/1.1\r\nX: ", "POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n"])
def test_letter_by_letter(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head keeps a place, and a body a thread: each has its time for all of it, not for each letter."""
    monkeypatch.setattr(connection, "HEAD_LIMIT_S", 0.5)
    monkeypatch.setattr(connection, "BODY_LIMIT_S", 0.5)

    def reads_all(environ: Environ, begin: StartResponse) -> list[bytes]:
        begin("200 OK", [])
        return [environ["wsgi.input"].read(99_999)]

    with (
        ViewServer(Address("127.0.0.1", 0), reads_all, lambda _text: None) as server,
        socket.create_connection(("127.0.0.1", server.address.port), timeout=0.05) as line,
    ):
        line.sendall(head.encode())
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                line.sendall(b"x")
                assert line.recv(100) == b"" or head.startswith("POST")
                return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("it may go on for ever")


def test_guessing(site: Site) -> None:
    """Without a brake a password of eight letters is found in days; what is right is not told any more either."""
    site.variables["LIMPET_WEBDAV_PASSWORD"] = SECRET
    view = start_view(site, "--user", "ann")
    guess = {"Authorization": "Basic " + base64.b64encode(b"ann:x").decode()}
    answers = [view.ask("GET", "/", guess) for _ in range(FREE_GUESSES + 5)]
    assert [answer.status for answer in answers] == [401] * FREE_GUESSES + [429] * 5
    assert 0 < int(answers[-1].headers["retry-after"]) <= PAUSE_S
    assert view.ask("GET", "/", SIGNED_IN).status == 429
    ended = view.end()
    assert ended.err.count("wrong user or password from 127.0.0.1") == FREE_GUESSES

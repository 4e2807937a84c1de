"""A view ends when it is told to, whatever is read through it, and leaves nothing: no lock, process or open port."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from limpet_command_webdav.address import Address
from limpet_command_webdav.server import ViewServer

from tests.safety.files import write_tree
from tests.safety.program import Site
from tests.services.fault_proxy import BLACK_HOLE, FaultProxy
from tests.services.rest_server import RestServer
from tests.webdav.viewing import END_LIMIT_S, View, latest, start_view


@pytest.fixture
def source(site: Site, tmp_path: Path) -> Path:
    """A few files, backed up."""
    folder = tmp_path / "source"
    folder.mkdir()
    write_tree(folder, 1, small=5, large_mib=8)
    site.run("backup", folder)
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end(site: Site, source: Path, number: signal.Signals) -> None:
    """Ctrl-C and `systemctl stop` end it as a success, with a client that keeps its connection open."""
    view = start_view(site)
    connection = http.client.HTTPConnection("127.0.0.1", view.port, timeout=30)
    connection.request("GET", f"{latest(source)}/large-0")
    assert connection.getresponse().read() == (source / "large-0").read_bytes()
    assert len(site.files("locks")) == 1
    ended = view.end(number)
    connection.close()
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert site.files("locks") == set()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", view.port), timeout=5)


def test_a_client_that_reads_nothing(site: Site, source: Path) -> None:
    """A download that somebody has paused does not keep the view from ending."""
    view = start_view(site)
    with socket.create_connection(("127.0.0.1", view.port), timeout=30) as line:
        line.sendall(f"GET {latest(source)}/large-0 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 200")
        assert view.end().code == 0
    assert site.files("locks") == set()


@pytest.fixture
def far_away(site: Site, tmp_path: Path) -> Iterator[FaultProxy]:
    """The repository is behind restic's REST server, and that behind a proxy."""
    with closing(RestServer(tmp_path / "server")) as server, FaultProxy(server.port) as proxy:
        site.repository = server.data / "repository"
        site.create()
        site.variables["LIMPET_REPOSITORY"] = f"rest:http://127.0.0.1:{proxy.port}/repository/"
        yield proxy


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_reader_stuck_on_a_dead_backend(
    site: Site, far_away: FaultProxy, source: Path, number: signal.Signals
) -> None:
    """The storage never answers a reader: the view ends all the same, the lock is removed, the reader is told."""
    view = start_view(site, "--no-cache")
    assert view.ask("HEAD", f"{latest(source)}/large-0").status == 200
    plan = far_away.inject(BLACK_HOLE, when=lambda request: request.reads and "/data/" in request.path)
    reader, failures = stuck_reader(view, source)
    view.running.wait_until(lambda: plan.happened > 0, "the data were asked for")
    ended = view.end(number)
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert site.files("locks") == set()
    reader.join(END_LIMIT_S)
    assert len(failures) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_storage_that_is_dead(site: Site, source: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Where nothing answers any more, not even to the removal of the lock, the view ends and tells what it leaves."""
    with closing(RestServer(tmp_path / "server")) as server:
        site.variables["LIMPET_REPOSITORY"] = f"rest:http://127.0.0.1:{server.port}/repository/"
        site.repository.rename(server.data / "repository")
        view = start_view(site, "--no-cache")
        assert view.ask("HEAD", f"{latest(source)}/large-0").status == 200
        server.process.send_signal(signal.SIGSTOP)
        try:
            reader, failures = stuck_reader(view, source)
            assert view.ask("PUT", "/").status == 405
            ended = view.end(number)
        finally:
            server.process.send_signal(signal.SIGCONT)
        reader.join(END_LIMIT_S)
        assert ended.code == 0, ended.err
        assert "Traceback" not in ended.err
        assert "unable to remove the lock in time" in ended.err
        assert len(failures) == 1


def stuck_reader(view: View, source: Path) -> tuple[Thread, list[Exception]]:
    """A client that waits for a file, and what comes of that."""
    failures: list[Exception] = []

    def read() -> None:
        try:
            view.ask("GET", f"{latest(source)}/large-0")
        except (OSError, http.client.HTTPException) as error:
            failures.append(error)

    thread = Thread(target=read, daemon=True)
    thread.start()
    return thread, failures


def test_damage_is_never_sent_as_data(site: Site, source: Path) -> None:
    """A file with a damaged part must come short, with a warning here: nobody would look at a page in its middle."""
    view = start_view(site, "--no-cache")
    assert view.ask("HEAD", f"{latest(source)}/large-0").status == 200
    for pack in (site.repository / "data").rglob("*"):
        if pack.is_file() and pack.stat().st_size > 100_000:
            content = bytearray(pack.read_bytes())
            content[1000 : len(content) // 2] = bytes(len(content) // 2 - 1000)
            pack.chmod(0o600)
            pack.write_bytes(content)
    got = [received(view, f"{latest(source)}/large-{number}") for number in range(2)]
    originals = [(source / f"large-{number}").read_bytes() for number in range(2)]
    assert got != originals
    assert all(original.startswith(part) for original, part in zip(originals, got, strict=True))
    ended = view.end()
    assert ended.code == 0
    assert "cannot be read" in ended.err
    assert "Traceback" not in ended.err


def received(view: View, path: str) -> bytes:
    """What came of a file before it broke off; nothing where an error was answered."""
    try:
        answer = view.ask("GET", path)
    except http.client.IncompleteRead as error:
        return error.partial
    assert answer.status in {200, 500}
    return answer.body if answer.status == 200 else b""


def test_a_port_that_is_taken(site: Site) -> None:
    """The one thing that goes wrong often at the start is said in one line, with the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = site.run("webdav", "--listen", f"127.0.0.1:{port}", code=1)
    assert ended.err == (
        f"Fatal: cannot listen on 127.0.0.1:{port}: Address already in use; --listen HOST:PORT names another place\n"
    )
    assert site.files("locks") == set()


def test_nothing_stays_behind_in_a_process() -> None:
    """A program that uses the parts over and over must not collect threads or sockets."""

    def hello(_environ: object, start_response: object) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])  # type: ignore[operator]
        return [b"hi"]

    before = set(threading.enumerate())
    for _ in range(5):
        with ViewServer(Address("127.0.0.1", 0), hello, lambda _text: None) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=30)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hi"
            connection.close()
    deadline = time.monotonic() + END_LIMIT_S
    while left := set(threading.enumerate()) - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)

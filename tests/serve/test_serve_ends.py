"""How `limpet serve` ends and begins: what runs goes on to its end, nothing is left, sockets come and go."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.uploading import LARGE, LARGE_ID, MIB, begun, files_of, make_repository
from tests.serve.wire import TIMEOUT_S, Wire, ask, request
from tests.services.process import ServerProcess, free_port
from tests.services.rest_server import LimpetServer
from tests.services.waiting import wait_for

AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Gives the program that follows a socket, as sd_listen_fds(3) has it."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LimpetServer]:
    """A new server with the empty repository `r`."""
    server = LimpetServer(tmp_path)
    make_repository(server)
    yield server
    server.close()


def test_restart_lets_uploads_end(server: LimpetServer) -> None:
    """A server that is restarted for an update costs nobody a pack: what has begun ends, nothing new begins."""
    idle = Wire(server)
    assert idle.ask("GET", "/r/data/").status == 200
    wire = begun(server, "data", MIB)
    stop(server)
    assert idle.ended()
    wait_for(lambda: refuses(server), "the end of listening")
    assert server.process.poll() is None
    wire.send(LARGE[MIB:])
    assert wire.answer("POST").status == 200
    assert server.process.wait(TIMEOUT_S) == 0
    assert files_of(server) == {f"r/data/{LARGE_ID[:2]}/{LARGE_ID}": len(LARGE)}
    for one in (idle, wire):
        one.close()


def test_restart_lets_downloads_end(server: LimpetServer) -> None:
    """A restore goes on as well."""
    path = server.data / "r" / "data" / "00" / ("0" * 64)
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    with Wire(server) as wire:
        wire.send(request("GET", f"/r/data/{path.name}"))
        assert wire.socket.recv(9, socket.MSG_PEEK) == b"HTTP/1.1 "
        stop(server)
        wait_for(lambda: refuses(server), "the end of listening")
        assert len(wire.answer().body) == 64 * MIB
    assert server.process.wait(TIMEOUT_S) == 0


def test_reload_while_it_starts(tmp_path: Path) -> None:
    """Who renews certificates or rotates logs does not ask whether the server is just starting."""
    port = free_port()
    command = [sys.executable, "-m", "limpet.cli.main", "serve", "--no-auth", "--path", str(tmp_path)]
    command += ["--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            wait_for(lambda: takes_reloads(process.pid), "the first moment in which it can be told")
            while "start server" not in process.stderr.readline():
                process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGHUP)
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
                client.sendall(request("GET", "/r/config", [("Connection", "close")]))
                assert client.recv(12) == b"HTTP/1.1 404"
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()


def takes_reloads(pid: int) -> bool:
    """Whether SIGHUP does not end the process: it is blocked, or caught."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return any(int(status[name], 16) & 1 << signal.SIGHUP - 1 for name in ("SigBlk", "SigCgt"))


def test_nobody_reads_what_it_says(tmp_path: Path) -> None:
    """A log that goes through a pipe to a program that hangs must not take the backups with it."""
    port = free_port()
    command = [sys.executable, "-m", "limpet.cli.main", "serve", "--no-auth", "--path", str(tmp_path)]
    command += ["--listen", f"127.0.0.1:{port}", "--log", "-", "--debug"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            while b"start server" not in process.stderr.readline():
                pass
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
                incoming = client.makefile("rb")
                for _ in range(300):  # more than both pipes hold
                    client.sendall(request("HEAD", "/r/config", [("User-Agent", "a" * 1000)]))
                    assert incoming.readline().split()[1] == b"404"
                    while incoming.readline() != b"\r\n":
                        pass
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()


def test_unix_socket_goes_with_the_server(tmp_path: Path) -> None:
    """A socket file that stays is taken for a server that hangs."""
    server = LimpetServer(tmp_path, on_socket=True)
    try:
        assert ask(server, "GET", "/r/config").status == 404
        stop(server)
        assert server.process.wait(TIMEOUT_S) == 0
        assert not server.socket_path.exists()
    finally:
        server.close()


def test_unix_socket_of_a_killed_server(tmp_path: Path) -> None:
    """After a power cut the server comes up by itself; a second one does not take the socket of one that runs."""
    LimpetServer(tmp_path, on_socket=True).kill()
    socket_path = tmp_path / "rest.socket"
    assert socket_path.is_socket()
    command = [*LimpetServer.program(), "--path", tmp_path / "data", "--no-auth", "--listen", f"unix:{socket_path}"]
    with ServerProcess(command, tmp_path / "second.log") as second:
        wait_for(lambda: _answers(socket_path), "the second server's answer")
        third = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert third.returncode == 1
        assert f"cannot listen on unix:{socket_path}: address already in use" in third.stderr
        assert second.process.poll() is None
        assert _answers(socket_path)


def test_socket_of_systemd(tmp_path: Path) -> None:
    """systemd opens the port before the server runs: no client is turned away by a restart."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        words = [*LimpetServer.program(), "--no-auth", "--listen", ":1", "--path", tmp_path / "data"]
        process = subprocess.Popen(
            [sys.executable, "-c", AS_SYSTEMD, str(listener.fileno()), *words], pass_fds=[listener.fileno()]
        )
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as waiting:
                waiting.sendall(request("GET", "/r/config"))
                assert waiting.recv(12) == b"HTTP/1.1 404"
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()
            process.wait()


def _answers(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(str(socket_path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        connection.sendall(request("GET", "/r/config"))
        return connection.recv(12) == b"HTTP/1.1 404"


def stop(server: LimpetServer) -> None:
    """Ask it to end, as systemd does."""
    server.process.send_signal(signal.SIGTERM)


def refuses(server: LimpetServer) -> bool:
    """Whether nobody listens any more."""
    try:
        Wire(server).close()
    except ConnectionRefusedError:
        return True
    return False

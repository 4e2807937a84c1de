"""The process that serves: how it begins, its TLS, and what makes no sense."""

from __future__ import annotations

import hashlib
import http.client
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from limpet.testing.certificates import Identity, identity

from tests.services.process import START_LIMIT_S
from tests.services.rest_server import LimpetServer

LIMPET = [sys.executable, "-m", "limpet.cli.main"]


def served_certificate(server: LimpetServer, authority: Identity, version: ssl.TLSVersion) -> bytes | None:
    """The certificate that a client of the TLS version is shown."""
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=START_LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"GET /r/config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert tls.recv(12) == b"HTTP/1.1 404"
        return tls.getpeercert(binary_form=True)


def test_certificate_is_renewed_without_a_restart(tmp_path: Path) -> None:
    """Certificates live for weeks, and backups of a night must not be cut off for them."""
    old, new = identity("localhost", "localhost"), identity("localhost", "localhost")
    server = LimpetServer(tmp_path, identity=old)
    try:
        before = served_certificate(server, old, ssl.TLSVersion.TLSv1_2)
        (tmp_path / "cert.pem").write_bytes(new.certificate)
        (tmp_path / "key.pem").write_bytes(new.key_pem())
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                after = served_certificate(server, new, ssl.TLSVersion.TLSv1_3)
                break
            except ssl.SSLError:
                assert time.monotonic() < deadline, "the new certificate is never shown"
        assert after != before
        (tmp_path / "cert.pem").write_bytes(old.certificate)
        (tmp_path / "key.pem").write_bytes(b"none")
        server.process.send_signal(signal.SIGHUP)
        while "the certificate of before stays" not in server.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert served_certificate(server, new, ssl.TLSVersion.TLSv1_3) == after
    finally:
        server.close()


def test_refused_upload_over_tls_gets_its_answer(tmp_path: Path) -> None:
    """A client that is cut off while it sends sees a broken network, and tries again what can never be."""
    authority = identity("localhost", "localhost")
    server = LimpetServer(tmp_path, identity=authority)
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    try:
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=START_LIMIT_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"POST /nonsense HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n")
            assert tls.recv(12) == b"HTTP/1.1 404"
            for _ in range(8):  # what is on its way must not be met by a reset, which takes answers from the client
                tls.sendall(bytes(100_000))
                time.sleep(0.02)
    finally:
        server.close()


def test_passed_socket_that_does_not_listen(tmp_path: Path) -> None:
    """With `Accept=yes` systemd passes a connection: a server that waits for others on it never ends."""
    script = (
        "import os, socket, sys; passed = socket.socket(); passed.bind(('127.0.0.1', 0)); os.dup2(passed.fileno(), 3);"
        "os.set_inheritable(3, True);"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.executable, sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, *LIMPET, "serve", "--path", str(tmp_path), "--no-auth"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_LIMIT_S, check=False)
    assert (ended.returncode, "Accept=no" in ended.stderr) == (1, True), ended.stderr


def test_old_tls_is_refused(tmp_path: Path) -> None:
    """Who asks for TLS 1.3 must not be talked down."""
    authority = identity("localhost", "localhost")
    server = LimpetServer(tmp_path, "--tls-min-ver", "1.3", identity=authority)
    try:
        assert served_certificate(server, authority, ssl.TLSVersion.TLSv1_3)
        with pytest.raises(ssl.SSLError):
            served_certificate(server, authority, ssl.TLSVersion.TLSv1_2)
    finally:
        server.close()


def test_server_is_small(tmp_path: Path) -> None:
    """What the command line imports would triple the memory of a server that stays for months."""
    server = LimpetServer(tmp_path)
    try:
        data = b"a lock"
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=START_LIMIT_S)
        client.request("POST", f"/r/locks/{hashlib.sha256(data).hexdigest()}", data)
        assert client.getresponse().status == 200
        client.close()
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "limpet/format/_native" in maps
        assert "libssl" not in maps
        assert "libcrypto" not in maps
    finally:
        server.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--path"),
        (["--path", "DIR", "--tls-cert", "c"], "without --tls"),
        (["--path", "DIR", "--no-auth", "--private-repos"], "--private-repos"),
        (["--path", "DIR", "--no-auth", "--listen", "127.0.0.1:99999"], "cannot listen on"),
        (["--path", "DIR", "--no-auth", "--listen", "unix:DIR/no/socket"], "no such file"),
        (["--path", "DIR", "--no-auth", "--tls"], "public_key"),
        (["--path", "DIR", "--no-auth", "--log", "DIR/no/log"], "cannot write the log"),
        (["--path", "DIR"], "user add"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_ends_at_once(tmp_path: Path, arguments: list[str], words: str) -> None:
    """A server that came up otherwise than it was told would be found out with the first restore."""
    command = [*LIMPET, "serve", *(argument.replace("DIR", str(tmp_path)) for argument in arguments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=START_LIMIT_S, check=False, cwd=tmp_path)
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("Fatal: ")
    assert words in last


def test_port_that_is_taken(tmp_path: Path) -> None:
    """Two servers on one port: the second one says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [*LIMPET, "serve", "--no-auth", "--path", str(tmp_path), "--listen", address]
        run = subprocess.run(command, capture_output=True, text=True, timeout=START_LIMIT_S, check=False)
    assert run.returncode == 1
    assert f"Fatal: cannot listen on {address}: address already in use" in run.stderr

"""`Transport.ssl_context` in front of a real server on the loopback, with certificates made for the occasion."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from limpet.contracts.transport import Transport
from limpet.errors import UsageError
from limpet.testing.certificates import identity


@dataclass(frozen=True, slots=True)
class Server:
    """A TLS server that greets those who bring the client's certificate, and the files that a client may be given."""

    port: int
    server_pem: str
    client_pem: str
    stranger_pem: str

    def greeting(self, transport: Transport) -> bytes:
        """What a client with this transport hears; ssl.SSLError where the two do not agree."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain,
            transport.ssl_context().wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
        ):
            return encrypted.recv(100)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests."""
    folder = tmp_path_factory.mktemp("tls")
    names = ("server", "client", "stranger")
    files = {name: identity(name).write(folder / f"{name}.pem") for name in names}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["server"])
    context.load_verify_locations(files["client"])
    context.verify_mode = ssl.CERT_REQUIRED
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as encrypted:
                    encrypted.sendall(b"hello")
            except OSError:
                plain.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield Server(listening.getsockname()[1], files["server"], files["client"], files["stranger"])
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(30)


def test_both_sides_prove_who_they_are(server: Server) -> None:
    """Without either of the two flags such a server could not be used."""
    transport = Transport(
        root_certificates=(server.stranger_pem, server.server_pem), client_certificate=server.client_pem
    )
    assert server.greeting(transport) == b"hello"


def test_a_server_that_nobody_vouches_for_is_refused(server: Server) -> None:
    """Backups would go to whoever sits in between; --insecure-tls alone may allow that."""
    for roots in ((), (server.stranger_pem,)):
        with pytest.raises(ssl.SSLCertVerificationError):
            server.greeting(Transport(root_certificates=roots, client_certificate=server.client_pem))
    unchecked = Transport(verify_tls=False, client_certificate=server.client_pem)
    assert server.greeting(unchecked) == b"hello"


def test_the_clients_certificate_is_sent(server: Server) -> None:
    """A server that wants one would refuse us."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        server.greeting(Transport(root_certificates=(server.server_pem,)))


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """The user has to learn which file is wrong and how; and nobody may be asked for a password in the night."""
    one = identity("one")
    certificate_only, encrypted, other = tmp_path / "certificate", tmp_path / "encrypted", tmp_path / "other"
    certificate_only.write_bytes(one.certificate)
    encrypted.write_bytes(one.certificate + one.key_pem(b"secret"))
    other.write_bytes(one.certificate + identity("two").key_pem())
    for path, reason in (
        (certificate_only, "must hold a certificate and its private key"),
        (other, "must hold a certificate and its private key"),
        (encrypted, "is encrypted"),
        (tmp_path / "missing", "No such file"),
    ):
        with pytest.raises(UsageError, match=reason) as caught:
            Transport(client_certificate=str(path)).ssl_context()
        assert str(path) in str(caught.value)

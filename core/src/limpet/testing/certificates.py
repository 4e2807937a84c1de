"""TLS certificates for tests: self-signed for the loopback, fresh each time, so that no key lies in a repository."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
NO_ENCRYPTION = serialization.NoEncryption()


@dataclass(frozen=True, slots=True)
class Identity:
    """A self-signed certificate and its key."""

    certificate: bytes
    key: ec.EllipticCurvePrivateKey

    def key_pem(self, password: bytes | None = None) -> bytes:
        """The private key, encrypted if there is a password."""
        encryption = serialization.BestAvailableEncryption(password) if password else NO_ENCRYPTION
        return self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)

    def write(self, path: Path) -> str:
        """Key and certificate in one file, in this order; restic takes any."""
        path.write_bytes(self.key_pem() + self.certificate)
        return str(path)


def identity(name: str, *hosts: str) -> Identity:
    """A fresh one for the loopback, and for the hosts if there are any."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.DNSName, hosts)]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Identity(made.public_bytes(PEM), key)

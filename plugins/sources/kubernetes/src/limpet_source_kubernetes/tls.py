"""The TLS of a connection to the cluster, made without a secret ever being in a file that has a name."""

from __future__ import annotations

import os
import ssl
import tempfile

from limpet.errors import UsageError

from limpet_source_kubernetes.kubeconfig import Access


def tls_context(access: Access) -> ssl.SSLContext | None:
    """The context for the server; None where it is spoken to without TLS. UsageError for certificates that are none."""
    if not access.server.startswith("https:"):
        return None
    access.identity.obtain()
    try:
        context = ssl.create_default_context(cadata=access.authorities)
        if access.identity.certificate:
            _load_pair(context, access.identity.certificate, access.identity.key or b"")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise UsageError(f"a certificate or key for {access.server} in the kubeconfig is damaged: {error}") from error
    if not access.verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """OpenSSL takes client certificates from files only: one without a name where there is such a thing."""
    both = certificate.rstrip(b"\n") + b"\n" + key
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate")
        try:
            os.write(descriptor, both)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pair.pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(both)
        context.load_cert_chain(path, password=_no_password)


def _no_password() -> str:
    """Without this OpenSSL would ask at the terminal."""
    raise ValueError("the client's key is locked with a password")

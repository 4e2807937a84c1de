"""The server's TLS: its certificate and key, read again on SIGHUP."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

from limpet.errors import UsageError

from limpet_command_serve.policy import Policy
from limpet_command_serve.settings import Settings

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Certificate(Policy):
    """The certificate; `context` is what connections are wrapped with. UsageError where the files are none."""

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self._certificate = settings.tls_cert or os.path.join(settings.path, "public_key")
        self._key = settings.tls_key or os.path.join(settings.path, "private_key")
        self._tell = tell
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = _VERSIONS[settings.tls_min_ver]
        self._load(self.context)

    def reload(self) -> None:
        """New connections get the certificate that is there now."""
        try:
            # Half a pair, as while both files are replaced, would leave the context with no key at all.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except UsageError as error:
            self._tell(f"{error}; the certificate of before stays")

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key, _no_password)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(
                f"cannot use the certificate {self._certificate} with the key {self._key}: {reason}"
            ) from error


def _no_password() -> str:
    raise ValueError("the key has a password: give one without")

"""What makes a request an authorized one: a signature by the account's key, a shared access signature, a token."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import threading
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

from limpet.errors import BackendError, UsageError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

STORAGE_SCOPE = "https://storage.azure.com/.default"
RENEWED_BEFORE_S = 300
"""A token is renewed so long before it ends."""
_REFUSED = re.compile(r"\berror\b|\bfailed\b|AADSTS|\b40[0-9]\b", re.IGNORECASE)
"""In what azure-identity says of a way that was set up, and answered otherwise than with a token."""


class Authorizer(Protocol):
    """Adds to a request what the service wants to see."""

    def authorize(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str]) -> str:
        """The query as it is sent, without its question mark; headers are added in place.

        `path` is percent-encoded, as it is sent. BackendError where no authorization can be had.
        """

    def forget(self) -> bool:
        """Called when the service has refused what was sent: whether there may be something else to send."""

    def close(self) -> None:
        """Release what is held open. Idempotent."""


class SharedKey:
    """Signs each request with the account's key, as in "Authorize with Shared Key" of Azure's REST reference."""

    def __init__(self, account: str, key: str) -> None:
        self._account = account
        try:
            self._key = base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            raise UsageError("the account key of Azure is no base64: copy it anew, it ends in ==") from None

    def authorize(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str]) -> str:
        headers["x-ms-date"] = formatdate(usegmt=True)
        length = headers.get("Content-Length", "0")
        own = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-ms-"))
        parameters = "".join(f"\n{name}:{query[name]}" for name in sorted(query))
        # Encoding, language, length, MD5, type, date, four conditions, range: what is not sent is an empty line.
        text = (
            f"{method}\n\n\n{'' if length == '0' else length}\n{headers.get('Content-MD5', '')}\n"
            f"{headers.get('Content-Type', '')}\n\n\n\n\n\n{headers.get('Range', '')}\n"
            f"{own}/{self._account}{path}{parameters}"
        )
        signature = base64.b64encode(hmac.digest(self._key, text.encode(), "sha256")).decode()
        headers["Authorization"] = f"SharedKey {self._account}:{signature}"
        return urlencode(query, quote_via=quote)

    def forget(self) -> bool:
        return False

    def close(self) -> None:
        return


class SharedAccessSignature:
    """Sends the signature along in the query; what it allows is written in it."""

    def __init__(self, signature: str) -> None:
        self._signature = signature.removeprefix("?")
        if "sig=" not in self._signature:
            raise UsageError("the shared access signature of Azure holds no sig=: copy it anew, all of it")

    def authorize(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str]) -> str:
        return "&".join(part for part in (urlencode(query, quote_via=quote), self._signature) if part)

    def forget(self) -> bool:
        return False

    def close(self) -> None:
        return


class DefaultCredential:
    """Sends a token of whoever this machine is signed in as: azure-identity's default chain, or the Azure CLI's user.

    Thread-safe. azure-identity uses connections and trusted certificates of its own: the flags of a command are about
    the storage service.
    """

    def __init__(self, *, force_cli: bool = False) -> None:
        self._force_cli = force_cli
        self._lock = threading.Lock()
        self._credential: TokenCredential | None = None
        self._token: AccessToken | None = None

    def authorize(self, method: str, path: str, query: Mapping[str, str], headers: dict[str, str]) -> str:
        headers["Authorization"] = f"Bearer {self._valid_token()}"
        return urlencode(query, quote_via=quote)

    def forget(self) -> bool:
        """A token may be taken back before its end: azure-identity, which keeps tokens too, is asked from the start."""
        had_one = self._token is not None
        self.close()
        return had_one

    def close(self) -> None:
        with self._lock:
            close = getattr(self._credential, "close", None)
            self._credential = self._token = None
        if close is not None:
            close()

    def _valid_token(self) -> str:
        with self._lock:
            left_s = 0.0 if self._token is None else self._token.expires_on - time.time()
            if self._token is None or left_s < RENEWED_BEFORE_S:
                try:
                    self._token = self._new_token()
                except BackendError as error:
                    if self._token is None:
                        raise
                    if left_s <= 0:  # it has worked before: whatever azure-identity makes of it, it may pass
                        raise BackendError(str(error)) from error
            return self._token.token

    def _new_token(self) -> AccessToken:
        from azure.core.exceptions import AzureError, ClientAuthenticationError  # noqa: PLC0415  # 0.2 s, only here

        try:
            if self._credential is None:
                self._credential = _credential(force_cli=self._force_cli)
            return self._credential.get_token(STORAGE_SCOPE)
        except (ClientAuthenticationError, ValueError) as error:
            raise BackendError(
                f"no token for Azure: {_reason(error)}; set AZURE_ACCOUNT_KEY, AZURE_ACCOUNT_SAS or"
                f" AZURE_STORAGE_CONNECTION_STRING, or sign this machine in",
                permanent=True,
            ) from error
        except (AzureError, OSError) as error:
            raise BackendError(f"no token for Azure: {_reason(error)}") from error


def _credential(*, force_cli: bool) -> TokenCredential:
    if force_cli:
        from azure.identity import AzureCliCredential  # noqa: PLC0415

        return AzureCliCredential()
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential()


def _reason(error: Exception) -> str:
    """What went wrong, in one line: of the ways that azure-identity tried, on lines of their own, those that somebody
    refused; the others are only not set up. Where none was, its first line.
    """
    summary, *ways = str(error).split("\n\t")
    refused = [way for way in ways if _REFUSED.search(way)]
    lines = [part.strip().partition("\n")[0].rstrip(".") for part in refused or [summary]]
    return "; ".join(lines) or type(error).__name__

"""Azurite on loopback, Microsoft's emulator of Azure Blob Storage: account keys, signatures and, over TLS, tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote, urlencode

from tests.services.process import SERVICES, ServerProcess, free_port, program

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's own, from Microsoft's documentation."""
ALL_RIGHTS = "rwdlac"
SIGNATURE_VERSION = "2021-12-02"


class AzuriteServer(ServerProcess):
    """Serves one account, its key is KEY; what it stores lives in its memory."""

    def __init__(self, folder: Path, *, account: str = ACCOUNT, certificate: Path | None = None) -> None:
        """`certificate` is a PEM file with the key in it: https then, and tokens are taken."""
        self.port = free_port()
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}/{account}"
        home = SERVICES / "azurite"
        command: list[str | Path] = [program("node", home), home / "node_modules/azurite/dist/src/blob/main.js"]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--inMemoryPersistence"]
        command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        if certificate is not None:
            command += ["--oauth", "basic", "--cert", certificate, "--key", certificate]
        super().__init__(command, folder / "azurite.log", {"AZURITE_ACCOUNTS": f"{account}:{KEY}"})
        self.wait_for_port(self.port)

    def connection_string(self) -> str:
        """As the portal of Azure shows it."""
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.url};"

    def read(self, container: str, blob: str) -> bytes | None:
        """The bytes of the blob; None if there is none."""
        try:
            return self._open("GET", f"{container}/{blob}").data
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def write(self, container: str, blob: str, data: bytes) -> None:
        """Put the blob there."""
        self._open("PUT", f"{container}/{blob}", data, {"x-ms-blob-type": "BlockBlob"})

    def headers(self, container: str, blob: str) -> dict[str, str]:
        """What the service tells of the blob, by lower-case name."""
        return self._open("HEAD", f"{container}/{blob}").headers

    def _open(
        self, method: str, path: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> _Answer:
        url = f"{self.url}/{quote(path)}?{signature()}"
        request = urllib.request.Request(url, data, headers or {}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return _Answer(answer.read(), {name.lower(): value for name, value in answer.headers.items()})


class _Answer:
    def __init__(self, data: bytes, headers: dict[str, str]) -> None:
        self.data = data
        self.headers = headers


def signature(rights: str = ALL_RIGHTS, *, account: str = ACCOUNT, valid_s: int = 3600) -> str:
    """A shared access signature of a whole account with KEY ("Create an account SAS" of Azure's REST reference)."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + valid_s))
    signed = [account, rights, "b", "sco", "", ends, "", "https,http", SIGNATURE_VERSION, "", ""]
    digest = hmac.digest(base64.b64decode(KEY), "\n".join(signed).encode(), hashlib.sha256)
    parts = {"sp": rights, "ss": "b", "srt": "sco", "se": ends, "spr": "https,http", "sv": SIGNATURE_VERSION}
    return urlencode({**parts, "sig": base64.b64encode(digest).decode()})


class ManagedIdentity:
    """What an App Service of Azure offers its programs: tokens over loopback, for who knows the header's value.

    Azurite looks at who gave a token and whom for and until when, not at its signature.
    """

    header = "limpet-identity-header"

    def __init__(self) -> None:
        self.asked = 0

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        """The environment that points azure-identity here."""
        identity = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the base class's name
                identity.asked += 1
                allowed = self.headers.get("X-IDENTITY-HEADER") == identity.header
                body = json.dumps(_token() if allowed else {"statusCode": 401, "message": "no"}).encode()
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                return

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            try:
                url = f"http://127.0.0.1:{server.server_address[1]}/token"
                yield {"IDENTITY_ENDPOINT": url, "IDENTITY_HEADER": self.header}
            finally:
                server.shutdown()


def _token() -> dict[str, str]:
    now = int(time.time())
    tenant = "00000000-0000-0000-0000-000000000001"
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{tenant}/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + 3600,
        "tid": tenant,
    }
    parts = [_base64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    token = ".".join([*parts, _base64url(b"not looked at")])
    return {
        "access_token": token,
        "expires_on": str(now + 3600),
        "resource": "https://storage.azure.com",
        "token_type": "Bearer",
    }


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

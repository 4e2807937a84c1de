"""What fake-gcs-server lacks: a server that gives tokens to service accounts, and a gate that looks at tokens."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.services.gcs_server import GcsServer


class TokenServer:
    """Gives tokens for a service account, as Google's does: to who signs with the account's key (RFC 7523)."""

    def __init__(self) -> None:

        self.given: list[str] = []
        self.email = "backup@limpet.test"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @contextmanager
    def running(self) -> Iterator[dict[str, str]]:
        """What a file of a service account holds, with this server for its tokens."""
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the base class's name
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                status, answer = tokens.answer(form)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                return

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield self._account(f"http://127.0.0.1:{server.server_address[1]}/token")
            finally:
                server.shutdown()

    def answer(self, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """Status and document for a request: a token, if the assertion is signed and about the right things."""
        head, claims, signature = form.get("assertion", [".."])[0].split(".")
        try:
            signed = f"{head}.{claims}".encode()
            self._key.public_key().verify(_base64url(signature), signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        said = json.loads(_base64url(claims))
        if said["iss"] != self.email or "devstorage" not in said["scope"] or said["exp"] < time.time():
            return 400, {"error": "invalid_grant", "error_description": "Not for this account."}
        self.given.append(f"token-{len(self.given)}")
        return 200, {"access_token": self.given[-1], "expires_in": 3600, "token_type": "Bearer"}

    def _account(self, url: str) -> dict[str, str]:

        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": "limpet-project",
            "private_key_id": "1",
            "private_key": key.decode(),
            "client_email": self.email,
            "client_id": "1",
            "token_uri": url,
        }


class TokenGate:
    """In front of a GcsServer: passes on what carries a token that is good, or one that may only read.

    The emulator itself looks at no credentials.
    """

    def __init__(self, target: GcsServer) -> None:
        self.good: set[str] = set()
        self.read_only: set[str] = set()
        self.refused = 0
        self.made: list[dict[str, str]] = []
        """What buckets were asked for, with the project."""
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                if token in gate.read_only and self.command != "GET":
                    self._answer(403, {}, _error(403, "forbidden", "The account does not have storage.objects access."))
                    return
                if token not in gate.good | gate.read_only:
                    gate.refused += 1
                    self._answer(401, {}, _error(401, "authError", "Invalid Credentials"))
                    return
                address = urlsplit(self.path)
                if self.command == "POST" and address.path == "/storage/v1/b":
                    gate.made.append({**json.loads(body), "project": parse_qs(address.query)["project"][0]})
                kept = {name: self.headers[name] for name in ("Content-Type", "Range") if name in self.headers}
                request = urllib.request.Request(target.url + self.path, body or None, kept, method=self.command)
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        self._answer(answer.status, dict(answer.headers), answer.read())
                except urllib.error.HTTPError as error:
                    self._answer(error.code, dict(error.headers), error.read())

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", headers.get("Content-Type", "application/json"))
                if "Content-Range" in headers:
                    self.send_header("Content-Range", headers["Content-Range"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = _pass_on  # noqa: N815  # the base class's names

            def log_message(self, *_arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown()
        self._server.server_close()


def _error(status: int, reason: str, message: str) -> bytes:
    """An error document, as the JSON API gives them."""
    return json.dumps({"error": {"code": status, "message": message, "errors": [{"reason": reason}]}}).encode()


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

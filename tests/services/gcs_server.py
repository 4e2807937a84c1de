"""fake-gcs-server on loopback: the JSON API of Google Cloud Storage, without credentials."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

from tests.services.process import SERVICES, ServerProcess, free_port, program


class GcsServer(ServerProcess):
    """Serves buckets out of its memory to whoever asks."""

    def __init__(self, folder: Path, *, certificate: Path | None = None) -> None:
        """`certificate` is a PEM file with the key in it: https then."""
        self.port = free_port()
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        command: list[str | Path] = [program("fake-gcs-server", SERVICES / "gcs"), "-scheme", scheme]
        command += [
            "-host",
            "127.0.0.1",
            "-port",
            str(self.port),
            "-backend",
            "filesystem",
            "-filesystem-root",
            folder / "buckets",
            "-log-level",
            "error",
        ]
        command += ["-public-host", f"127.0.0.1:{self.port}", "-external-url", self.url]
        if certificate is not None:
            command += ["-cert-location", certificate, "-private-key-location", certificate]
        super().__init__(command, folder / "gcs.log")
        self.wait_for_port(self.port)

    def read(self, bucket: str, name: str) -> bytes | None:
        """The bytes of the object; None if there is none."""
        url = f"{self.url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def write(self, bucket: str, name: str, data: bytes) -> None:
        """Put the object there."""
        url = f"{self.url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        urllib.request.urlopen(urllib.request.Request(url, data, method="POST"), timeout=60).close()

    def make_bucket(self, bucket: str) -> None:
        """Make an empty bucket."""
        body = json.dumps({"name": bucket}).encode()
        headers = {"Content-Type": "application/json"}
        url = f"{self.url}/storage/v1/b?project=limpet"
        urllib.request.urlopen(urllib.request.Request(url, body, headers, method="POST"), timeout=60).close()

    def md5(self, bucket: str, name: str) -> str:
        """The MD5 that the service has of the object, in base64."""
        url = f"{self.url}/storage/v1/b/{bucket}/o/{quote(name, safe='')}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return str(json.load(answer)["md5Hash"])

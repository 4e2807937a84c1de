"""A second S3 server on loopback: `rclone serve s3` over a folder; it checks signatures and knows no versions."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from tests.services.process import SERVICES, ServerProcess, free_port, program


class RcloneS3Server(ServerProcess):
    """Serves the folders in `root` as buckets; what is in them can be looked at and changed beside it."""

    s3_key = "LIMPETKEY"
    s3_secret = "limpet-secret"
    region = "us-east-1"

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        root: Path | None = None,
        for_all: bool = False,
        certificate: Path | None = None,
        client_authority: Path | None = None,
    ) -> None:
        """Serve `root`, a new one below `folder` if it is not given; `arguments` are rclone's.

        `for_all` lets in who has no key; `certificate` is a PEM file with the key in it; `client_authority` signs the
        certificates that clients must have.
        """
        self.root = root or folder / "buckets"
        self.root.mkdir(parents=True, exist_ok=True)
        self.port, self._control = free_port(), free_port()
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"
        command: list[str | Path] = [program("rclone", SERVICES / "rclone_s3/bin"), "serve", "s3"]
        command += ["--addr", f"127.0.0.1:{self.port}"]
        command += [] if for_all else ["--auth-key", f"{self.s3_key},{self.s3_secret}"]
        # A bucket stays when its last object goes. Folders are remembered: without that it hangs under load.
        command += ["--no-cleanup", "--dir-cache-time", "1h", "--vfs-cache-mode", "off", "--config", "/dev/null"]
        command += ["--rc", "--rc-addr", f"127.0.0.1:{self._control}", "--rc-no-auth", *arguments]
        if certificate is not None:
            command += ["--cert", certificate, "--key", certificate]
        if client_authority is not None:
            command += ["--client-ca", client_authority]
        super().__init__([*command, self.root], folder / f"rclone-{self.port}.log")
        self.wait_for_port(self.port)
        self.wait_for_port(self._control)

    def write(self, path: str, data: bytes) -> None:
        """Put a file at `BUCKET/KEY` beside the server, which is then told to look again."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        with urllib.request.urlopen(f"http://127.0.0.1:{self._control}/vfs/forget", data=b"") as answer:
            answer.read()

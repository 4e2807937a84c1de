"""A second S3 server on loopback: `rclone serve s3` over a folder; it checks signatures and knows no versions."""

from __future__ import annotations

from pathlib import Path

from tests.services.process import SERVICES, ServerProcess, free_port, program


class RcloneS3Server(ServerProcess):
    """Serves the folders in `root` as buckets; what is in them can be looked at and changed beside it."""

    s3_key = "LIMPETKEY"
    s3_secret = "limpet-secret"
    region = "us-east-1"

    def __init__(self, folder: Path, *, certificate: Path | None = None, client_authority: Path | None = None) -> None:
        """`certificate` is a PEM file with the key in it; `client_authority` signs those that clients must have."""
        self.root = folder / "buckets"
        self.root.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"
        command: list[str | Path] = [
            program("rclone", SERVICES / "rclone_s3/bin"),
            "serve",
            "s3",
            "--addr",
            f"127.0.0.1:{self.port}",
        ]
        command += ["--auth-key", f"{self.s3_key},{self.s3_secret}", "--vfs-cache-mode", "off"]
        # A folder that is empty is no bucket's end, and a file changed beside the server shows at once.
        command += ["--no-cleanup", "--dir-cache-time", "0s", "--config", "/dev/null"]
        if certificate is not None:
            command += ["--cert", certificate, "--key", certificate]
        if client_authority is not None:
            command += ["--client-ca", client_authority]
        super().__init__([*command, self.root], folder / "rclone.log")
        self.wait_for_port(self.port)

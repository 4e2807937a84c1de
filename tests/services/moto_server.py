"""An emulator of Amazon's services on loopback, moto: for what the real servers here lack, such as S3's object lock."""

from __future__ import annotations

from pathlib import Path

from tests.services.process import SERVICES, ServerProcess, free_port, program


class MotoServer(ServerProcess):
    """Takes any key, keeps everything in memory."""

    s3_key = "ANYBODY"
    s3_secret = "any-secret"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command: list[str | Path] = [program("moto_server", SERVICES / "moto/bin")]
        super().__init__([*command, "--host", "127.0.0.1", "--port", str(self.port)], folder / "moto.log")
        self.wait_for_port(self.port)

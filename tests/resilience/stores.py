"""Real servers with a repository behind each: how to reach it over a port, and its files as the judge sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import limpet
from limpet.format.kdf import KdfParameters, new_salt

from tests.safety.program import PASSWORD
from tests.services.rclone_s3 import RcloneS3Server
from tests.services.rest_server import RestServer
from tests.services.sftp_server import SftpServer

BUCKET = "bucket"


@dataclass(frozen=True, slots=True)
class Store:
    """A server that keeps a repository in `files`, in the layout of a local one.

    A proxy may be put before it: `location` takes the port to go to. `environment` and `options` hold the credentials.
    `kill` ends the server as a crash does.
    """

    files: Path
    port: int
    location: Callable[[int], str]
    kill: Callable[[], None]
    close: Callable[[], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def flags(self) -> list[str]:
        """The options as the command line takes them."""
        return [part for name, value in self.options.items() for part in ("-o", f"{name}={value}")]

    def create(self) -> None:
        """An empty repository whose password costs nothing to try."""
        limpet.create_repository(str(self.files), PASSWORD, kdf=KdfParameters(2, 1, 1, new_salt())).close()
        for folder in (self.files / "data").iterdir():  # an object store has none that are empty, and lists slowly then
            folder.rmdir()


def rest_store(folder: Path, *flags: str) -> Store:
    """A real rest-server; on a folder that one was killed on it goes on."""
    server = RestServer(folder, *flags)
    return Store(
        server.data / "repository",
        server.port,
        lambda port: f"rest:http://127.0.0.1:{port}/repository/",
        server.kill,
        server.close,
    )


def s3_store(folder: Path) -> Store:
    """rclone's S3 server, whose objects are files."""
    server = RcloneS3Server(folder)
    (server.root / BUCKET).mkdir(exist_ok=True)
    environment = {"AWS_ACCESS_KEY_ID": server.s3_key, "AWS_SECRET_ACCESS_KEY": server.s3_secret}
    return Store(
        server.root / BUCKET / "repository",
        server.port,
        lambda port: f"s3:http://127.0.0.1:{port}/{BUCKET}/repository",
        server.kill,
        server.close,
        environment,
    )


def sftp_store(folder: Path) -> Store:
    """A real sshd; its key is known whichever port one comes over."""
    server = SftpServer(folder)
    config = server.ssh_config("any_port", HostKeyAlias=f"[127.0.0.1]:{server.port}")
    files = server.root / "repository"
    return Store(
        files,
        server.port,
        lambda port: f"sftp://{server.user}@127.0.0.1:{port}/{files}",
        server.kill,
        server.close,
        options={"sftp.args": server.arguments(config)},
    )


STORES: Mapping[str, Callable[[Path], Store]] = {"rest": rest_store, "s3": s3_store}
"""Those that speak HTTP."""
ALL_STORES: Mapping[str, Callable[[Path], Store]] = {**STORES, "sftp": sftp_store}

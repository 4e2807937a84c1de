"""Servers of restic's REST protocol, restic's own and ours, on a free port of the loopback or on a unix socket."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from limpet.testing.certificates import Identity

from tests.services.process import PEERS, START_LIMIT_S, ServerProcess, free_port, program


class RestServer:
    """A running rest-server with its data in a folder; its repositories are the folders in `data`."""

    name = "rest-server"

    def __init__(
        self,
        folder: Path,
        *flags: str,
        users: Mapping[str, str] | None = None,
        identity: Identity | None = None,
        on_socket: bool = False,
    ) -> None:
        """`users` are passwords by name (nobody has to log in without them), `identity` turns TLS on."""
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = 0 if on_socket else free_port()
        self.socket_path = folder / "rest.socket"
        self.socket_path.unlink(missing_ok=True)
        self.scheme = "https" if identity else "http"
        listen = f"unix:{self.socket_path}" if on_socket else f"127.0.0.1:{self.port}"
        command: list[str | Path] = [*self.program(), *self.place(), "--listen", listen]
        command += ["--no-auth"] if users is None else ["--htpasswd-file", _write_users(folder, users)]
        if identity is not None:
            (folder / "cert.pem").write_bytes(identity.certificate)
            (folder / "key.pem").write_bytes(identity.key_pem())
            command += ["--tls", "--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem"]
        self.log = folder / f"{self.name}.log"
        self._process = ServerProcess([*command, *flags], self.log)
        try:
            self._wait(on_socket)
        except BaseException:
            self._process.close()
            raise

    @staticmethod
    def program() -> Sequence[str | Path]:
        """What starts it; the options that follow are the same for both servers."""
        return (program("restic-rest-server", PEERS),)

    def place(self) -> Sequence[str | Path]:
        """The options that say where it stores."""
        return ("--path", self.data)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started."""
        return self._process.process

    def url(self, repository: str, login: str = "") -> str:
        """The location of a repository without `rest:`; `login` is `user:password`."""
        if not self.port:
            return f"http+unix://{self.socket_path}:/{repository}/"
        at = f"{login}@" if login else ""
        return f"{self.scheme}://{at}127.0.0.1:{self.port}/{repository}/"

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()

    def close(self) -> None:
        """End it. Idempotent."""
        self._process.close()

    def _wait(self, on_socket: bool) -> None:
        if not on_socket:
            self._process.wait_for_port(self.port)
            return
        deadline = time.monotonic() + START_LIMIT_S
        while not self.socket_path.is_socket():
            assert self._process.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{self.name} makes no socket"
            time.sleep(0.02)


class LimpetServer(RestServer):
    """A running `limpet serve`, which takes the same options and stores in the same places."""

    name = "limpet serve"

    @staticmethod
    def program() -> Sequence[str | Path]:
        """This Python's Limpet."""
        return (sys.executable, "-m", "limpet.cli.main", "serve")


def certificate_bundle(folder: Path, identity: Identity) -> str:
    """The file to give as `--cacert`."""
    path = folder / "authority.pem"
    path.write_bytes(identity.certificate)
    return str(path)


def _write_users(folder: Path, users: Mapping[str, str]) -> Path:
    path = folder / "htpasswd"
    lines = [f"{name}:{{SHA}}{_sha1(password)}\n" for name, password in users.items()]
    path.write_text("".join(lines))
    return path


def _sha1(password: str) -> str:
    return base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()

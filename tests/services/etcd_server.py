"""A real etcd on loopback, with TLS and users where a test wants them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from limpet.testing.certificates import identity

from tests.services.process import ServerProcess, free_port, program

_ARGUMENT_SIZE = 1000
ROOT_PASSWORD = "not:to-be-seen"


class EtcdServer(ServerProcess):
    """A cluster of one member. With `tls` clients have to show the certificate `client.pem` of the key `client.key`."""

    def __init__(self, folder: Path, *, data: Path | None = None, tls: bool = False) -> None:
        self.etcdctl = program("etcdctl")
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = free_port()
        # A busy machine may take longer than the 5 seconds after which etcdctl gives up.
        self.variables = {"ETCDCTL_API": "3", "ETCDCTL_COMMAND_TIMEOUT": "60s", "ETCDCTL_DIAL_TIMEOUT": "60s"}
        own, others = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}", f"http://127.0.0.1:{free_port()}"
        self.variables["ETCDCTL_ENDPOINTS"] = own
        command: list[str | Path] = [program("etcd"), "--data-dir", data or folder / "data", "--unsafe-no-fsync"]
        command += ["--listen-client-urls", own, "--advertise-client-urls", own]
        command += ["--listen-peer-urls", others]
        if data is None:  # What was restored knows these.
            command += ["--initial-advertise-peer-urls", others, "--initial-cluster", f"default={others}"]
        if tls:
            command += self._certificates()
        super().__init__(command, folder / "etcd.log")
        self.wait_for_port(self.port)
        self.control("endpoint", "health")

    def control(self, *arguments: str, given: str = "") -> str:
        """What etcdctl says."""
        environment = {**os.environ, **self.variables}
        done = subprocess.run(
            [self.etcdctl, *arguments], env=environment, input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"etcdctl {arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def put(self, key: str, value: str) -> None:
        """Store a value."""
        if len(value) > _ARGUMENT_SIZE:
            self.control("put", "--", key, given=value)
        else:
            self.control("put", "--", key, value)

    def content(self) -> list[tuple[str, str, int]]:
        """Every key and value, as base64, with the number of its changes."""
        found = json.loads(self.control("get", "", "--prefix", "-w", "json"))
        return [(entry["key"], entry.get("value", ""), entry["version"]) for entry in found.get("kvs", [])]

    def with_users(self) -> None:
        """From now on only root may do anything, with ROOT_PASSWORD."""
        self.control("user", "add", "root", "--interactive=false", given=ROOT_PASSWORD)
        self.control("user", "grant-role", "root", "root")
        self.control("user", "add", "guest", "--interactive=false", given=ROOT_PASSWORD)
        self.control("auth", "enable")
        self.variables |= {"ETCDCTL_USER": "root", "ETCDCTL_PASSWORD": ROOT_PASSWORD}

    def _certificates(self) -> list[str | Path]:
        for name in ("server", "client"):
            made = identity(name)
            (self.folder / f"{name}.pem").write_bytes(made.certificate)
            (self.folder / f"{name}.key").write_bytes(made.key_pem())
        server, client = self.folder / "server.pem", self.folder / "client.pem"
        for name, path in (("CACERT", server), ("CERT", client), ("KEY", client.with_suffix(".key"))):
            self.variables[f"ETCDCTL_{name}"] = str(path)
        return [
            "--cert-file", server, "--key-file", server.with_suffix(".key"),
            "--client-cert-auth", "--trusted-ca-file", client,
        ]  # fmt: skip

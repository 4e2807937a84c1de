"""A real OpenSSH server on loopback, with host keys and users' keys of its own; no file of the system is touched."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.services.process import ServerProcess, free_port, program

SFTP_PROGRAM = Path("/usr/lib/openssh/sftp-server")
_SEPARATION = Path("/run/sshd")
"""The empty folder that sshd, as root, locks its unprivileged part into; Debian's start script makes it."""

_SSHD = """Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PidFile none
MaxStartups 100
MaxSessions 100
Subsystem sftp {sftp}
"""


class SftpServer(ServerProcess):
    """`key` may do all, `reader_key` only read, `stranger_key` nothing. `root` is where tests put repositories."""

    def __init__(self, folder: Path, *, subsystem: str = str(SFTP_PROGRAM)) -> None:
        sshd = program("sshd")
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir(parents=True)
        self.port = free_port()
        self.user = getpass.getuser()
        self.key, self.reader_key, self.stranger_key = (self._new_key(name) for name in ("key", "reader", "stranger"))
        host_key = self._new_key("host_key")
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {_public(host_key)}\n")
        reader = f'command="{SFTP_PROGRAM} -R"'
        (folder / "authorized_keys").write_text(f"{_public(self.key)}\n{reader} {_public(self.reader_key)}\n")
        config = folder / "sshd_config"
        config.write_text(_SSHD.format(port=self.port, folder=folder, sftp=subsystem))
        if os.geteuid() == 0:
            _SEPARATION.mkdir(mode=0o755, exist_ok=True)
        super().__init__([sshd, "-D", "-e", "-f", config], folder / "sshd.log")
        self.wait_for_port(self.port)

    def ssh_config(self, name: str = "ssh_config", *, more: str = "", **changed: str | Path) -> Path:
        """A file for `ssh -F`: what the client needs to log in here, with some settings changed (None of ours left)."""
        settings: Mapping[str, object] = {
            "IdentityFile": self.key,
            "IdentityAgent": "none",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": self.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "KexAlgorithms": "curve25519-sha256",  # the quickest: tests log in often
            **changed,
        }
        path = self.folder / name
        path.write_text(more + "Host *\n" + "".join(f"  {key} {value}\n" for key, value in settings.items()))
        return path

    def arguments(self, config: Path | None = None) -> str:
        """The value of `sftp.args` for this server."""
        return f"-F {config or self.ssh_config()}"

    def location(self, path: Path | str) -> str:
        """The repository's location, without its scheme."""
        return f"//{self.user}@127.0.0.1:{self.port}/{path}"

    def _new_key(self, name: str) -> Path:
        path = self.folder / name
        keygen = program("ssh-keygen")
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path], check=True)
        return path


def _public(key: Path) -> str:
    return key.with_suffix(".pub").read_text().strip()

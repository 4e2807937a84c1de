"""Samba's file server over one folder, on a free port of the loopback, for guests; and its client."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.services.process import ServerProcess, free_port, program

SHARE = "backup"
CONFIGURATION = """\
[global]
server role = standalone server
interfaces = lo
bind interfaces only = yes
smb ports = {port}
map to guest = Bad User
guest account = nobody
load printers = no
printcap name = /dev/null
disable spoolss = yes
private dir = {folder}
state directory = {folder}
cache directory = {folder}
lock directory = {folder}
pid directory = {folder}
ncalrpc dir = {folder}/ncalrpc
[{share}]
path = {exported}
guest ok = yes
force user = root
"""


class SambaServer:
    """A running smbd that exports the folder `exported`, as far as Samba is concerned with leave to write."""

    def __init__(self, folder: Path, exported: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        configuration = folder / "smb.conf"
        text = CONFIGURATION.format(port=self.port, folder=folder, share=SHARE, exported=exported)
        configuration.write_text(text + "read only = no\n")
        self._folder = folder
        command: list[str | Path] = [
            program("smbd"),
            "--foreground",
            "--no-process-group",
            f"--configfile={configuration}",
        ]
        self._process = ServerProcess(command, folder / "smbd.log")
        self._process.wait_for_port(self.port)

    def client(self, *commands: str, folder: Path, check: bool = True) -> str:
        """What smbclient says to the commands; files go to the folder. with `check` AssertionError if one fails."""
        done = subprocess.run(
            [
                *(program("smbclient"), f"//127.0.0.1/{SHARE}", f"--port={self.port}", "--no-pass", "--user=guest%"),
                *(f"--configfile={self._folder / 'smb.conf'}", f"--command={'; '.join(commands)}"),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout + done.stderr

    def close(self) -> None:
        """End it. Idempotent."""
        self._process.close()

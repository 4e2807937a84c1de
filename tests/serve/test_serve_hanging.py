"""`limpet serve` with a mount below its folder that hangs: who asks for what is there waits, and nobody else does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.mounting import is_mounted, require_fuse
from tests.serve.cases import DATA, ID
from tests.serve.uploading import make_repository
from tests.serve.wire import Wire, ask, request
from tests.services.process import PEERS, ServerProcess, program
from tests.services.rest_server import LimpetServer
from tests.services.waiting import wait_for

TARGET = f"/slow/keys/{ID}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LimpetServer]:
    """A new server with the empty repository `r`."""
    server = LimpetServer(tmp_path, "--grace", "1s")
    make_repository(server)
    yield server
    server.close()


@pytest.fixture
def mounted(tmp_path: Path, server: LimpetServer) -> Iterator[ServerProcess]:
    """Serves the repository `slow`, which has one file, by FUSE."""
    require_fuse()
    source, point = tmp_path / "source", server.data / "slow"
    (source / "keys").mkdir(parents=True)
    (source / "keys" / ID).write_bytes(DATA)
    point.mkdir()
    process = ServerProcess([program("rclone", PEERS), "mount", source, point], tmp_path / "rclone.log")
    try:
        wait_for(lambda: is_mounted(point), "the mount")
        yield process
    finally:
        process.process.send_signal(signal.SIGCONT)
        tool = ["umount", "--lazy"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
        subprocess.run([*tool, point], check=False, capture_output=True)
        process.close()


def test_others_are_served(server: LimpetServer, mounted: ServerProcess) -> None:
    """One hanging share must not take the backups of all who store elsewhere with it."""
    assert ask(server, "POST", f"/r/keys/{ID}", body=DATA).status == 200
    assert ask(server, "GET", TARGET).body == DATA
    mounted.process.send_signal(signal.SIGSTOP)
    with Wire(server) as waiting:
        waiting.send(request("GET", TARGET))
        with Wire(server) as wire:
            for _ in range(20):
                assert wire.ask("GET", f"/r/keys/{ID}").body == DATA
                assert wire.ask("POST", f"/r/keys/{ID}", body=DATA).status == 200
        mounted.process.send_signal(signal.SIGCONT)
        assert waiting.answer().body == DATA

"""Real servers for tests: started on a free loopback port, waited for, and ended by pid."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest
from limpet.format.native import die_with_parent

from tests.services.closing import Closing

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / ".cache/services"
"""Where `fetch_services.sh` puts what no package of the system has."""
PEERS = ROOT / ".cache/peers/usr/bin"
START_LIMIT_S = 60.0
END_LIMIT_S = 10.0


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def unavailable(reason: str) -> None:
    """Skip the test, or fail it where LIMPET_REQUIRE_SERVICES=1: a service that is missing must not pass unseen."""
    if os.environ.get("LIMPET_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str, *places: Path) -> Path:
    """The program, from the first of the places that has it, else from PATH; the test ends without it."""
    for place in places:
        if (place / name).is_file():
            return place / name
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        unavailable(f"{name} is not installed: `make test` installs it")
    return Path(str(found))


class ServerProcess(Closing):
    """A server that runs until `close`; its output goes to a file that is shown where it does not come up."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # it and its children are ended together
                preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call: a killed test run leaves nothing behind
            )

    def wait_for_port(self, port: int) -> Self:
        """Return when something accepts connections there; AssertionError with the log if the server ends before."""
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                assert self.process.poll() is None, f"{self.process.args!r} ended:\n{self._said()}"
                assert time.monotonic() < deadline, f"{self.process.args!r} does not listen:\n{self._said()}"
                time.sleep(0.02)
            else:
                return self

    def kill(self) -> None:
        """End it as a crash does, in the middle of whatever it is doing."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End it and its children. Idempotent."""
        for number, limit_s in ((signal.SIGTERM, END_LIMIT_S), (signal.SIGKILL, None)):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(limit_s)
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

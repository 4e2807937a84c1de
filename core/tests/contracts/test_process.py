"""Children end with us, and with them all that they have started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from limpet.contracts.process import InputProcess, OutputProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
LEAVES_A_CHILD = "echo $$; sleep 600 & exit 0"


def test_what_a_command_has_left_behind_ends_too() -> None:
    """A pipeline whose shell is gone would go on dumping a database, for nobody, after Ctrl-C."""
    process = OutputProcess(["sh", "-c", LEAVES_A_CHILD], None)
    group = int(process.output.buffered().readline())
    wait_for(group, ["sleep"])
    process.end()
    assert process.wait() is None
    wait_for(group, [])


def test_a_command_that_is_not_fed_any_more_is_ended_before_its_input() -> None:
    """Half of a script, at whose end the tool commits what it has read so far, would look like a restored database."""
    process = InputProcess(["sh", "-c", "cat; touch committed"], None)
    process.write(b"BEGIN;")
    process.end()
    assert process.wait() == f"signal: {(signal.strsignal(signal.SIGTERM) or '').lower()}"


def wait_for(group: int, names: list[str]) -> None:
    """Until these are the processes of the group that still run."""
    deadline = time.monotonic() + 30
    while (found := running(group)) != names:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def running(group: int) -> list[str]:
    """The names of the group's processes, zombies apart."""
    table = subprocess.run(["ps", "-eo", "pgid=,stat=,comm="], check=True, capture_output=True, text=True).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    return [name for number, state, name in rows if int(number) == group and not state.startswith("Z")]

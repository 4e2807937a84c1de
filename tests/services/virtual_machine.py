"""A Debian kernel of its own in qemu, over this machine's files: for the device mapper, LVM and its snapshots."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limpet.format.native import die_with_parent

from tests.services.process import SERVICES, program, unavailable

PROGRAM = Path(__file__).with_suffix(".sh")
KERNEL = SERVICES / "virtual_machine"
LIMIT_S = 1100.0
"""It is emulated, without help from the processor: all takes ten times as long."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a script in the machine ended, what it printed, and the folder that it had as `/out`."""

    succeeded: bool
    console: str
    out: Path


class VirtualMachine:
    """Runs scripts, each in a machine that is started for it: 10 seconds. The test ends where it cannot be had."""

    def __init__(self, work: Path) -> None:
        if not (KERNEL / ".fetched").is_file():
            unavailable(f"no kernel for the virtual machine in {KERNEL}: `make test-long` fetches it")
        for name in ("qemu-system-x86_64", "busybox", "cpio"):
            program(name)
        self.work = work
        (work / "out").mkdir(parents=True, exist_ok=True)

    def run(self, script: Path, *, disks_mib: Sequence[int] = (), limit_s: float = LIMIT_S) -> Finished:
        """Run a bash script as root, with empty disks of these sizes at /dev/vda and so on."""
        command = [PROGRAM, KERNEL, self.work, script, *disks_mib]
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # one system call: a killed test run leaves nothing behind
        )
        try:
            said, _ = process.communicate(timeout=limit_s)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        console = self.work / "console.log"
        text = console.read_text(errors="replace") if console.exists() else ""
        return Finished(process.returncode == 0, said.decode(errors="replace") + text, self.work / "out")

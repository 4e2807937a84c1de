"""One command measured: wall clock, processor time of it and of all below it, peak memory of the whole group."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.02
REAPER = Path(__file__).with_name("reaper.py")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took: seconds and MiB."""

    wall_s: float
    cpu_s: float


def timed(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Wall and processor seconds of the command, all processes below it included. CalledProcessError if it fails."""
    os.sync()  # what the run before has left to be written is none of this one's work
    reading, writing = os.pipe()
    with open(reading, "rb") as answer:
        try:
            subprocess.run(
                [sys.executable, "-S", "-E", REAPER, str(writing), *command],
                env=environment,
                pass_fds=[writing],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=True,
            )
        finally:
            os.close(writing)
        return Cost(*json.loads(answer.read()))


def peak_memory_mib(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Largest proportional set size of the command and its descendants, sampled; in a run of its own, for it disturbs.

    Memory that processes share is counted once, as the kernel's PSS does.
    """
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_kib = 0
    while process.poll() is None:
        time.sleep(SAMPLE_S)
        peak_kib = max(peak_kib, sum(_pss_kib(pid) for pid in (process.pid, *descendants(process.pid))))
    return peak_kib / 1024


def descendants(pid: int) -> list[int]:
    """The processes below this one, at this moment."""
    found = []
    for task in _children(pid):
        found += [task, *descendants(task)]
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += [int(child) for child in (thread / "children").read_text().split()]
    except OSError:
        pass
    return children


def _pss_kib(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0

"""Mounts and unmounts again and again in one process, and prints what is left after each round as a JSON list.

`python -m tests.mount.rounds FOLDER ROUNDS`; the repository is in the environment, the mount point below the folder.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from limpet.cli.main import main as limpet

from tests.mount.mounting import is_mounted

LIMIT_S = 60.0
SETTLED_S = 3.0


def main(folder: Path, rounds: int) -> int:
    """Each round ends in another way."""
    point = folder / "mounted in rounds"
    point.mkdir()
    left = []
    for number in range(rounds):
        ender = threading.Thread(target=_end, args=(point, WAYS[number % len(WAYS)]))
        ender.start()
        code = limpet(["-q", "mount", str(point)])
        ender.join()
        assert code == 0
        assert not is_mounted(point)
        left.append({"threads": _threads(), "files": _open_files(), "locks": _locks()})
    print(json.dumps(left))
    return 0


def _end(point: Path, way: Callable[[Path], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_mounted(point):
        if time.monotonic() > deadline:
            os._exit(70)
        time.sleep(0.005)
    way(point)


def _look_and_interrupt(point: Path) -> None:
    for _path, _folders, _files in os.walk(point):
        pass
    os.kill(os.getpid(), signal.SIGINT)


WAYS: Sequence[Callable[[Path], object]] = (
    lambda _point: os.kill(os.getpid(), signal.SIGINT),
    lambda point: subprocess.run(["umount", point], check=True),
    _look_and_interrupt,
    lambda _point: os.kill(os.getpid(), signal.SIGTERM),
    lambda point: subprocess.run(["umount", "--lazy", point], check=True),
)


def _threads() -> int:
    """Of those that end, the kernel lists each for a moment longer."""
    deadline = time.monotonic() + SETTLED_S
    while (count := len(os.listdir("/proc/self/task"))) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return count


def _open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def _locks() -> int:
    return len(os.listdir(Path(os.environ["LIMPET_REPOSITORY"], "locks")))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))

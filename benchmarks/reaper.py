"""A program that runs a command and writes what it took: `reaper.py DESCRIPTOR COMMAND...`; ends as the command does.

The kernel hands it what the command leaves behind, so that the time of an ssh that nobody waited for is counted, too.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>


def main(descriptor: int, command: list[str]) -> int:
    """Wall seconds of the command, processor seconds of it and all below it, as JSON; its exit code."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    started = time.monotonic()
    exit_code = subprocess.call(command)
    wall_s = time.monotonic() - started
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    os.write(descriptor, json.dumps([wall_s, usage.ru_utime + usage.ru_stime]).encode())
    return exit_code if exit_code >= 0 else 128 - exit_code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))

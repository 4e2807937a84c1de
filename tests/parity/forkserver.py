"""Runs Limpet's command line again and again without starting Python anew: a child is forked for each request.

`python forkserver.py` answers each line of its standard input, a JSON request, with one line: the child's exit code.
Each run is a process of its own, with its own signals, streams and environment; only the imports are done before.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import signal
import sys
import termios
import time
import traceback
from typing import Any

from limpet.cli.commands import COMMANDS

WARM = [
    "limpet.cli.main",
    "limpet.cli.render",
    "limpet.registry",
    "limpet.repository.repository",
    "limpet.storage.retry",
]


def serve() -> None:
    """Answer requests until standard input ends."""
    for name in [*WARM, *(f"limpet.cli.commands.{command.replace('-', '_')}" for command in COMMANDS)]:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _run(json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict[str, Any]) -> None:
    code = 70
    try:
        code = _main(request)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _main(request: dict[str, Any]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    os.setsid()
    for descriptor, path in enumerate(request["streams"]):
        flags = os.O_RDWR if request["terminal"] else (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)[descriptor]
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    if request["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # for the life of the process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = ["limpet", *request["arguments"]]
    from limpet.cli.main import main  # noqa: PLC0415  # imported long before; a name of this process's own

    return main()


if __name__ == "__main__":
    serve()

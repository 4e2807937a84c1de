"""The script of the process that serves, run by `python -S`: takes its settings from a descriptor.

It begins anew after the command line was read: without what that had imported, the server needs a third of the memory.
"""

from __future__ import annotations

import json
import os
import signal
import sys

_OF_MALLOC = {
    # One arena of memory for all threads: others would keep what they no longer use.
    "MALLOC_ARENA_MAX": "1",
    # What is large for a moment, as a module's file while it is imported, goes back to the system.
    "MALLOC_MMAP_THRESHOLD_": "32768",
    "MALLOC_TRIM_THRESHOLD_": "16384",
    "MALLOC_TOP_PAD_": "0",
}


def main() -> int:
    """Serve as the document at the descriptor `argv[1]` says: the path of modules, and the settings."""
    with open(int(sys.argv[1]), "rb") as file:
        document = json.load(file)
    sys.path[:] = document["path"]
    from limpet_command_serve.deferred import defer_imports  # noqa: PLC0415  # only now it is found

    defer_imports()
    from limpet_command_serve.process import serve  # noqa: PLC0415  # likewise
    from limpet_command_serve.settings import Settings  # noqa: PLC0415

    return serve(Settings(**document["settings"]))


def hold_reloads() -> None:
    """Keep SIGHUP for the server, which takes it as soon as it can; until then it would end the process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def start(settings_json: bytes) -> None:
    """Become that process. The document is in memory alone, and gone when it is read."""
    package_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    import limpet  # noqa: PLC0415  # `main` cannot yet

    roots = [package_root, os.path.dirname(os.path.dirname(os.path.abspath(limpet.__file__)))]
    path = roots + [entry for entry in sys.path if entry and entry not in roots]
    document = json.dumps({"path": path, "settings": json.loads(settings_json)}).encode()
    descriptor = os.memfd_create("limpet-serve-settings", 0)
    os.write(descriptor, document)
    os.lseek(descriptor, 0, os.SEEK_SET)
    for name, value in _OF_MALLOC.items():
        os.environ.setdefault(name, value)
    os.execv(sys.executable, [sys.executable, "-S", __file__, str(descriptor)])


if __name__ == "__main__":
    sys.exit(main())

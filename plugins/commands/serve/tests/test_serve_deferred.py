"""Modules that are imported late: the server does without them, and whoever needs them has them."""

from __future__ import annotations

import subprocess
import sys

STORY = """
from limpet_command_serve.deferred import defer_imports
defer_imports()
import sys, asyncio, dataclasses

assert "ast" not in sys.modules

@dataclasses.dataclass
class Undocumented:
    size_bytes: int

assert Undocumented.__doc__ == "Undocumented(size_bytes: int)"

async def run():
    process = await asyncio.create_subprocess_exec("echo", "a", stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0]

assert asyncio.run(run()) == b"a\\n"
import inspect, subprocess
assert inspect.signature(run) and subprocess.run(["true"]).returncode == 0
print("done")
"""


def test_what_is_deferred_is_there_when_it_is_needed() -> None:
    """A library that finds half a module would fail in the middle of the night, on somebody else's machine."""
    done = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")

"""Standard input as a source: read once and whole, from a real pipe, in a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from limpet.contracts.source import SourceRequest
from limpet.errors import UsageError
from limpet_source_command import StdinSource

READ = """
import sys
from limpet.contracts.source import SourceRequest
from limpet_source_command import StdinSource
source = StdinSource.open(SourceRequest([], {"filename": "dump"}))
[target] = source.targets()
with target.entry.stream() as stream:
    content = stream.read(%s)
source.finish()
source.close()
print(len(content), target.path.decode(), source.snapshot_paths)
"""


def run(
    count: str = "", *, text: str | None = None, without_input: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """A process that backs up its standard input: `text`, or nothing."""
    return subprocess.run(
        [sys.executable, "-c", READ % count],
        input=text or "",
        preexec_fn=without_input,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_all_that_is_piped_in() -> None:
    """One byte less than was piped in is not a backup."""
    done = run(text="x" * 3_000_000)
    assert done.stdout == "3000000 /dump ['/dump']\n", done.stderr


def test_empty_input() -> None:
    """restic 2135: nothing piped in is an error of the file, for the dump before the pipe has failed."""
    done = run()
    assert "OSError: read stdin: no data read" in done.stderr


def test_closed_input() -> None:
    """A service manager may start us without any standard input."""
    done = run(without_input=lambda: os.close(0))
    assert "SourceError: standard input is closed" in done.stderr


def test_not_read_to_its_end() -> None:
    """A reader that gave up early has stored a part only."""
    done = run("5", text="x" * 3_000_000)
    assert "SourceError: standard input was not read to its end" in done.stderr


def test_targets_make_no_sense() -> None:
    """`backup --stdin folder` would leave the folder out, and nobody would notice."""
    with pytest.raises(UsageError, match="--stdin was specified and files/dirs were listed"):
        StdinSource.open(SourceRequest(["folder"]))


def test_abort_while_the_pipe_is_silent() -> None:
    """Ctrl-C must end a backup whose input neither comes nor ends."""
    program = """
import threading, time
from limpet.contracts.source import SourceRequest
from limpet_source_command import StdinSource
source = StdinSource.open(SourceRequest([]))
stream = source.targets()[0].entry.stream()
reader = threading.Thread(target=stream.read)
reader.start()
time.sleep(0.2)
source.close()
reader.join(60)
print("ended" if not reader.is_alive() else "hangs")
"""
    read_end, write_end = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], stdin=read_end, capture_output=True, text=True, check=False, timeout=120
        )
    finally:
        os.close(read_end)
        os.close(write_end)
    assert "ended" in done.stdout

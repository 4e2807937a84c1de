"""Programs that write down how they were called before they do their work: what a list of processes would show."""

from __future__ import annotations

import os
from pathlib import Path

from tests.services.process import program


def record_calls(folder: Path, *names: str) -> dict[str, str]:
    """The $PATH with such programs before the real ones; `recorded_calls` reads what they wrote."""
    places = folder / "recording"
    places.mkdir()
    for name in names:
        script = places / name
        script.write_text(f'#!/bin/sh\nprintf "%s\\n" {name} "$@" >> {places}/calls\nexec {program(name)} "$@"\n')
        script.chmod(0o755)
    return {"PATH": f"{places}{os.pathsep}{os.environ['PATH']}"}


def recorded_calls(folder: Path) -> list[str]:
    """Every word of every call, the programs' names among them."""
    return (folder / "recording/calls").read_text().splitlines()

"""`limpet generate`: manual pages that a reader of such pages takes, and refusals."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from limpet.cli.commands import COMMANDS

if TYPE_CHECKING:
    from .conftest import Run


def test_manual_pages(tmp_path: Path, run: Run) -> None:
    """`man limpet-backup` would show a page with holes, or none."""
    ended = run("generate", "--man", tmp_path)
    assert (ended.exit_code, ended.out) == (0, f"writing man pages to directory {tmp_path}\n")
    pages = {page.name: page.read_text() for page in tmp_path.iterdir()}
    assert {"limpet.1", "limpet-key-add.1", *(f"limpet-{name}.1" for name in COMMANDS)} <= set(pages)
    again = tmp_path / "again"
    again.mkdir()
    run("generate", "--man", again)
    assert {page.name: page.read_text() for page in again.iterdir()} == pages
    if shutil.which("mandoc") is None:
        pytest.fail("no mandoc") if os.environ.get("LIMPET_REQUIRE_SERVICES") == "1" else pytest.skip("no mandoc")
    files = sorted(tmp_path.glob("*.1"))
    judged = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *files], capture_output=True, text=True, check=False
    )
    complaints = [line for line in judged.stdout.splitlines() if "missing date" not in line]
    assert complaints == []
    shown = subprocess.run(
        ["mandoc", "-T", "utf8", "-O", "width=200", tmp_path / "limpet-backup.1"],
        capture_output=True,
        text=True,
        check=True,
    )
    plain = re.sub(".\b", "", shown.stdout)  # bold is a letter typed twice
    for line in (
        "-h, --help",
        "--exclude-if-present filename[:header]",
        "-r, --repo repository",
        "Create a new backup of files",
    ):
        assert line in plain


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "nothing to do, please specify at least one output file/dir"),
        (["--bash-completion", "-", "--zsh-completion", "-"], "to stdout for single shell only"),
        (["--man", "/nowhere/at/all"], "No such file or directory"),
        (["more"], "unexpected extra argument"),
    ],
)
def test_refusals(run: Run, arguments: list[str], error: str) -> None:
    """A package build that asks for nothing, or for the impossible, has to fail."""
    ended = run("generate", *arguments)
    assert ended.exit_code == 1
    assert error in ended.err

"""The layers of DESIGN, as contracts of import-linter in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXIT_BROKEN = 1


def lint(**environment: str) -> subprocess.CompletedProcess[str]:
    """Import-linter's command with the project's contracts."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-logo", "--no-cache"]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300
    )


def test_every_import_goes_down_the_layers() -> None:
    """Without it a plugin would reach into the core, and the core's parts into each other, one import at a time."""
    done = lint()
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_of_the_workspace_is_under_contract() -> None:
    """A new plugin that nobody named in the contracts would be under no contract at all."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    packages = {path.parent.name for path in ROOT.glob("plugins/*/*/src/*/__init__.py")}
    free = {name for name in packages if name.startswith("limpet_command_")}  # as our own: they use all of the core
    assert packages | {"limpet"} == set(settings["root_packages"])
    for contract in settings["contracts"]:
        for key in ("modules", "source_modules", "forbidden_modules"):
            named = {name for name in contract.get(key, []) if name.startswith("limpet_")}
            assert named in (set(), packages, packages - free), f"{contract['name']}: {key}"


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("core/src/limpet/format/pack.py", "limpet.repository"),
        ("core/src/limpet/format/pack.py", "socket"),
        ("core/src/limpet/storage/memory.py", "limpet_backend_local"),
        ("core/src/limpet/operations/walk.py", "limpet.testing"),
        ("plugins/backends/local/src/limpet_backend_local/backend.py", "limpet.storage"),
    ],
)
def test_a_forbidden_import_is_found(module: str, forbidden: str, tmp_path: Path) -> None:
    """Contracts that do not bite, because a name in them is wrong, would let the layers go unseen."""
    sources = [ROOT / "core/src", *ROOT.glob("plugins/*/*/src")]
    for source in sources:
        shutil.copytree(source, tmp_path / source.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / module).open("a") as file:
        file.write(f"import {forbidden}\n")
    done = lint(PYTHONPATH=os.pathsep.join(str(tmp_path / source.relative_to(ROOT)) for source in sources))
    assert done.returncode == EXIT_BROKEN, done.stdout + done.stderr
    assert f"-> {forbidden}" in done.stdout

"""The example plugins, installed and tested as a stranger would: with wheels of ours, outside the checkout."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.distributions import ROOT, Environment

pytestmark = pytest.mark.slow

EXAMPLES = sorted(file.parent.name for file in ROOT.glob("examples/*/pyproject.toml"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_installs_and_passes_its_tests(
    example: str, wheels: Path, environment: Callable[..., Environment], tmp_path: Path
) -> None:
    """They are what plugin authors copy: one that does not work by itself teaches how to fail."""
    folder = tmp_path / example
    unwanted = shutil.ignore_patterns("__pycache__", ".*_cache", "dist", "*.egg-info")
    shutil.copytree(ROOT / "examples" / example, folder, ignore=unwanted)
    empty = environment(wheels)
    empty.install(folder, "pytest", "limpet")
    settings = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    (points,) = settings["entry-points"].values()
    for name in points:
        shown = empty.run("limpet", "plugin", "info", name)
        assert settings["name"] in shown
    printed = empty.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", folder)
    assert " passed" in printed
    assert " failed" not in printed

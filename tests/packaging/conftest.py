"""The built distributions, once a run: tests that use them belong to the xdist group `distributions`."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.packaging.distributions import PROJECTS, ROOT, Environment, build, copy_workspace, run


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the project."""
    folder = tmp_path_factory.mktemp("workspace")
    copy_workspace(folder)
    return folder


@pytest.fixture(scope="session")
def sdists(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of every distribution."""
    folder = tmp_path_factory.mktemp("sdists")
    for project in PROJECTS:
        build("--sdist", workspace / project.folder, folder)
    return folder


@pytest.fixture(scope="session")
def wheels(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of every distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in PROJECTS:
        build("--wheel", workspace / project.folder, folder)
    return folder


@pytest.fixture(scope="session")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that our distributions require of others, to run and to be built, in the pinned versions."""
    folder = tmp_path_factory.mktemp("third-party")
    settings = [tomllib.loads((ROOT / project.folder / "pyproject.toml").read_text()) for project in PROJECTS]
    required = {
        requirement
        for each in settings
        for requirement in (*each["project"].get("dependencies", []), *each["build-system"]["requires"])
        if not requirement.startswith("limpet")
    }
    constraints = str(ROOT / "constraints.txt")
    run([sys.executable, "-m", "pip", "download", "-qq", "-c", constraints, *sorted(required)], cwd=folder)
    return folder


@pytest.fixture
def environment(tmp_path: Path, third_party: Path) -> Iterator[Callable[..., Environment]]:
    """Makes an empty environment that installs from the folders given and from `third_party`."""
    folder = tmp_path / "environment"

    def make(*find_links: Path) -> Environment:
        return Environment(folder, [*find_links, third_party])

    yield make
    shutil.rmtree(folder, ignore_errors=True)

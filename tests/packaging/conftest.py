"""The built distributions, made once a run, also if several processes run the tests."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.packaging.distributions import PROJECTS, ROOT, Environment, build_all, copy_workspace, made_once, run


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run see."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "distributions"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def workspace(shared: Path) -> Path:
    """A clean copy of the project."""
    return made_once(shared, "workspace", copy_workspace)


@pytest.fixture(scope="session")
def sdists(workspace: Path, shared: Path) -> Path:
    """A folder with the sdist of every distribution."""
    return made_once(shared, "sdists", lambda folder: build_all("--sdist", workspace, folder))


@pytest.fixture(scope="session")
def wheels(workspace: Path, shared: Path) -> Path:
    """A folder with the wheel of every distribution."""
    return made_once(shared, "wheels", lambda folder: build_all("--wheel", workspace, folder))


@pytest.fixture(scope="session")
def wheels_built_elsewhere(workspace: Path, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same wheels from another folder, at another time, with another umask."""

    def make(folder: Path) -> None:
        elsewhere = tmp_path_factory.mktemp("a workspace elsewhere") / "limpet"
        unwanted = shutil.ignore_patterns("build", "*.egg-info", "*.so", "__pycache__")
        # copyfile: the files are new, with the times of now
        shutil.copytree(workspace, elsewhere, copy_function=shutil.copyfile, ignore=unwanted)
        build_all("--wheel", elsewhere, folder, umask=0o077)

    return made_once(shared, "wheels-built-elsewhere", make)


@pytest.fixture(scope="session")
def third_party(shared: Path) -> Path:
    """All that our distributions require of others, to run and to be built, and pytest, in the pinned versions."""
    settings = [tomllib.loads((ROOT / project.folder / "pyproject.toml").read_text()) for project in PROJECTS]
    required = {
        requirement
        for each in settings
        for requirement in (*each["project"].get("dependencies", []), *each["build-system"]["requires"])
        if not requirement.startswith("limpet")
    }
    constraints = str(ROOT / "constraints.txt")
    # As wheels: what others publish as source is compiled once, with what this environment compiled it with.
    get = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-build-isolation", "-c", constraints, "pytest"]
    return made_once(shared, "third-party", lambda folder: run([*get, *sorted(required)], cwd=folder))


@pytest.fixture
def environment(tmp_path: Path, third_party: Path) -> Iterator[Callable[..., Environment]]:
    """Makes an empty environment that installs from the folders given and from `third_party`."""
    folder = tmp_path / "environment"

    def make(*find_links: Path) -> Environment:
        return Environment(folder, [*find_links, third_party])

    yield make
    shutil.rmtree(folder, ignore_errors=True)

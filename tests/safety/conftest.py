"""A site of its own for each test, and one that is set up once and copied."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.safety.files import digests, write_tree
from tests.safety.program import Site
from tests.safety.scene import Scene


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty repository; what runs on it at the end of the test is killed."""
    made = Site(tmp_path)
    made.create()
    yield made
    made.close()


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A source of which one snapshot was taken before it was changed."""
    folder = tmp_path_factory.mktemp("original")
    site, source = Site(folder), folder / "source"
    site.create()
    write_tree(source, seed=1, small=100, large_mib=4)
    site.run("backup", source)
    before = digests(source)
    write_tree(source, seed=2, small=400, large_mib=40)
    return Scene(site, source, before)


@pytest.fixture
def scene(original: Scene, tmp_path: Path) -> Iterator[Scene]:
    """A copy of the repository; the source is the same, so that it has the paths of the snapshot."""
    shutil.copytree(original.site.repository, tmp_path / "repository")
    site = Site(tmp_path)
    yield Scene(site, original.source, original.before)
    site.close()


@pytest.fixture(scope="session")
def duration_s(original: Scene, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a backup takes that nothing disturbs."""
    scene = original.copied(tmp_path_factory.mktemp("undisturbed"))
    started = time.monotonic()
    scene.site.run("--pack-size", "4", "backup", scene.source)
    return time.monotonic() - started

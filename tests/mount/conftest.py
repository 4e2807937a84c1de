"""What the tests of mounting share: repositories, and mounts that end with the test or the module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.mount.mounting import Mounts, make_site


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    """An empty repository and its mounts, all ended with the test."""
    made = Mounts(make_site(tmp_path), tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounts]:
    """The same for all tests of a file."""
    folder = tmp_path_factory.mktemp("mounts")
    made = Mounts(make_site(folder), folder)
    yield made
    made.close()


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Servers of one test, ended in the opposite order."""
    with ExitStack() as stack:
        yield stack

"""What the tests of the view share: repositories that are gone with the test or the module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.safety.program import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty repository; what was started on it is ended with the test."""
    made = Site(tmp_path)
    made.create()
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same for all tests of a file."""
    made = Site(tmp_path_factory.mktemp("site"))
    made.create()
    yield made
    made.close()

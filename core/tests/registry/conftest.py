"""An empty folder of distributions for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from limpet.testing.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Throw-away distributions go in here."""
    folder, home = tmp_path / "site", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    return Site(folder, home)

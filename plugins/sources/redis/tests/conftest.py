"""A Redis server for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.redis_server import RedisServer
from tests.sources.redis_shop import fill
from tests.sources.runs import Runs


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with everything; no test changes its keys."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        fill(running)
        yield running


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """The command line and a repository."""
    return Runs(tmp_path / "runs")

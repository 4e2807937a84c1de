"""A MariaDB server for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.mariadb_server import MariadbServer
from tests.sources.mysql_shop import SECRET, make_shop
from tests.sources.runs import Runs


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """A server with the database `shop`, and `large` with two tables."""
    with MariadbServer(tmp_path_factory.mktemp("mariadb")) as running:
        make_shop(running, "shop")
        running.sql(
            f"CREATE USER app@'%' IDENTIFIED BY '{SECRET.replace(chr(92), chr(92) * 2).replace(chr(39), chr(39) * 2)}';"
            " GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON *.* TO app@'%'; DROP USER IF EXISTS ''@localhost;"
            " CREATE DATABASE large; CREATE TABLE large.a (id INT PRIMARY KEY, data BLOB);"
            " CREATE TABLE large.z LIKE large.a; USE large; INSERT INTO a SELECT seq, MD5(seq) FROM seq_1_to_50000;"
        )
        yield running


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """The command line and a repository."""
    return Runs(tmp_path / "runs")

"""The commands that the documentation shows, run on real servers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.docs.pages import blocks, script_commands
from tests.docs.shell import Shell
from tests.hooks.desk import PASSWORD, made_desk
from tests.services.postgres_server import PostgresServer
from tests.services.process import ROOT

README = ROOT / "plugins/sources/postgres/README.md"
GUIDE = ROOT / "docs/sources.md"
SHOWN_FOLDER = "/postgres/localhost"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """The reader's."""
    server = PostgresServer()
    server.sql("CREATE DATABASE shop")
    server.sql("CREATE TABLE t AS SELECT 1 AS a", "shop")
    yield server
    server.close()


@pytest.fixture
def new_server() -> Iterator[PostgresServer]:
    """The one that takes its place."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def shell(server: PostgresServer, tmp_path: Path, restic_new: Restic) -> Iterator[Shell]:
    """The reader's, with a repository and a folder `work`."""
    desk = made_desk(tmp_path)
    programs = [str(Path(sys.executable).parent), str(restic_new.binary.parent), os.environ["PATH"]]
    environment = {
        "PATH": os.pathsep.join(programs),
        **{f"{name}_REPOSITORY": str(desk.repository) for name in ("LIMPET", "RESTIC")},
        **{f"{name}_PASSWORD": PASSWORD for name in ("LIMPET", "RESTIC")},
        **server.environment,
    }
    with Shell(tmp_path, environment) as shell:
        yield shell


def test_commands_of_the_readme(server: PostgresServer, new_server: PostgresServer, shell: Shell) -> None:
    """Who restores a database for the first time does it with the README open, and in a hurry."""
    backup, restore, by_hand = [block for block in blocks(README) if block.language == "sh"]
    for block in (backup, restore):
        for command in script_commands(block):
            run(shell, command.text.replace("postgres://newhost/", new_server.address()), server)
    assert new_server.sql("SELECT * FROM t", "shop") == server.sql("SELECT * FROM t", "shop_copy") == "1\n"
    new_server.sql("DROP DATABASE shop")
    run(shell, f"export PGHOST={new_server.folder} PGPORT={new_server.port}", server)
    for command in script_commands(by_hand):
        run(shell, command.text, server)
    assert new_server.sql("SELECT * FROM t", "shop") == "1\n"
    server.sql("DROP DATABASE shop_copy")


def test_commands_of_the_guide(server: PostgresServer, shell: Shell) -> None:
    """It is where most come from."""
    section = GUIDE.read_text().partition("\n## postgres\n")[2].partition("\n## ")[0]
    commands = [line for line in section.splitlines() if line.startswith("limpet ")]
    assert len(commands) == 3
    for command in commands:
        run(shell, command, server)
    assert server.sql("SELECT * FROM t", "shop_copy") == "1\n"
    server.sql("DROP DATABASE shop_copy")


def run(shell: Shell, command: str, server: PostgresServer) -> None:
    """The command ends well. The reader's server is at the usual place, ours is not."""
    code, lines = shell.run(command.replace(SHOWN_FOLDER, folder(server)))
    assert code == 0, "\n".join([command, *lines])


def folder(server: PostgresServer) -> str:
    """Of what comes over the server's socket."""
    return f"/postgres/{str(server.folder).replace('/', '_')}:{server.port}"

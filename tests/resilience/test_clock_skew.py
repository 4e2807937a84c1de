"""Machines whose clock is wrong, by `faketime`: where requests are signed with the time, that is told as what it is."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.resilience.conftest import OpenSite
from tests.resilience.stores import STORES, rest_store
from tests.safety.program import PASSWORD, Site
from tests.services.process import program
from tests.services.swift_server import SwiftServer


def at(offset: str) -> list[str | Path]:
    """Run what follows with the clock that far off; pauses take as long as they take.

    Not for SFTP: faketime breaks the waits of Python that its client needs, and nothing in it looks at a clock.
    """
    return ["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", program("faketime"), "-f", offset]


@pytest.mark.parametrize("offset", ["+9m", "-9m"])
@pytest.mark.parametrize("name", STORES)
def test_clock_that_is_minutes_off(  # noqa: PLR0917  # fixtures
    name: str, offset: str, tmp_path: Path, closing: ExitStack, site_at: OpenSite, restic_new: Restic
) -> None:
    """Clocks of two machines are never the same: locks, conditions and signatures must do with that."""
    store = STORES[name](tmp_path / "server")
    closing.callback(store.close)
    store.create()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"a file")
    site = site_at(store, store.port)
    site.run("backup", tmp_path / "source", prefix=at(offset))
    site.run("forget", "--keep-last", "1", "--prune", prefix=at(offset))
    site.run("check", "--read-data")
    done = restic_new.run("--no-lock", "check", "--read-data", repo=store.files, password=PASSWORD)
    assert b"no errors were found" in done.stdout


@pytest.mark.parametrize("offset", ["+2h", "-2h"])
def test_hours_do_not_matter_without_signatures(
    offset: str, tmp_path: Path, source: Path, closing: ExitStack, site_at: OpenSite
) -> None:
    """A machine without a battery for its clock backs up all the same."""
    store = rest_store(tmp_path / "server")
    closing.callback(store.close)
    store.create()
    site = site_at(store, store.port)
    site.run("backup", source, prefix=at(offset))
    assert not site.files("locks")


def test_s3_names_the_clock(tmp_path: Path, closing: ExitStack) -> None:
    """A signature that is too old or too new is refused for good: who reads `access denied` looks for a wrong key."""
    server = closing.enter_context(SwiftServer(tmp_path / "server"))
    site = Site(tmp_path)
    site.variables = {
        "AWS_ACCESS_KEY_ID": server.s3_key,
        "AWS_SECRET_ACCESS_KEY": server.s3_secret,
        "LIMPET_REPOSITORY": f"s3:{server.url}/bucket/repository",
    }
    ended = site.run("init", prefix=at("+2h"), code=1)
    assert "clock" in ended.last_line
    assert "trying again" not in ended.err

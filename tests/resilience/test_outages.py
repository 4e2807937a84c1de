"""Servers that crash in the middle of a backup, and one that lets nobody overwrite: with the real command line."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.resilience.conftest import OpenSite
from tests.resilience.stores import STORES, rest_store
from tests.safety.files import digests
from tests.safety.judging import assert_clean, assert_restores, snapshot_ids
from tests.safety.program import Site
from tests.services.fault_proxy import LOST_ANSWER, RESET, FaultProxy, Request

SMALL_PACKS = ("--pack-size", "4")


@pytest.mark.parametrize("name", STORES)
def test_server_killed_and_restarted(  # noqa: PLR0917  # fixtures
    name: str, tmp_path: Path, source: Path, closing: ExitStack, site_at: OpenSite, restic_new: Restic
) -> None:
    """A server that is updated in the night must not cost that night's backup, nor leave half a pack."""
    store = STORES[name](tmp_path / "server")
    closing.callback(store.close)
    store.create()
    proxy = closing.enter_context(FaultProxy(store.port))
    crashed = threading.Event()
    packs = itertools.count(1)

    def crashes(request: Request) -> bool:
        if _saves_a_pack(request) and next(packs) == 2:
            store.kill()
            crashed.set()
            return True
        return False

    proxy.inject(RESET, when=crashes)
    site = site_at(store, proxy.port)
    backup = site.start(*SMALL_PACKS, "backup", source)
    backup.wait_until(crashed.is_set, "the server crashed")
    seen = len(proxy.requests)
    backup.wait_until(lambda: len(proxy.requests) > seen, "it is asked again")
    restarted = STORES[name](tmp_path / "server")
    closing.callback(restarted.close)
    proxy.target_port = restarted.port
    ended = backup.end()
    assert ended.code == 0, ended.err
    assert "trying again" in ended.err
    _judge(site, restic_new, source)


def test_lost_answers_of_an_append_only_server(
    tmp_path: Path, source: Path, closing: ExitStack, site_at: OpenSite, restic_new: Restic
) -> None:
    """It refuses each repetition of a save that it has done: what it has byte for byte is saved all the same."""
    store = rest_store(tmp_path / "server", "--append-only")
    closing.callback(store.close)
    proxy = closing.enter_context(FaultProxy(store.port))
    kinds = ("config", "/keys/", "/locks/", "/data/", "/index/", "/snapshots/")
    plans = [proxy.inject(LOST_ANSWER, times=1, when=_saves(kind)) for kind in kinds]
    site = site_at(store, proxy.port)
    site.run("init")
    ended = site.run(*SMALL_PACKS, "backup", source)
    assert [plan.happened for plan in plans] == [1] * len(kinds)
    assert "trying again" in ended.err
    _judge(site, restic_new, source)


def _judge(site: Site, restic: Restic, source: Path) -> None:
    assert not site.files("locks")
    assert_clean(site, restic)
    (snapshot,) = snapshot_ids(site, restic)
    assert_restores(site, restic, snapshot, digests(source), source)


def _saves(kind: str) -> Callable[[Request], bool]:
    return lambda request: request.writes and kind in request.path


_saves_a_pack = _saves("/data/")

"""A network that fails on purpose, in front of real servers: backups end complete or clean, restic judges what is left.

The faults strike at counted requests, never by chance. `complete` stands for faults that a retry mends; the others may
end a run, with an error of ours and nothing damaged.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.resilience.impatience import Outcome, backup, restore
from tests.resilience.stores import STORES, Store
from tests.safety.files import digests
from tests.safety.program import PASSWORD, Site
from tests.services.fault_proxy import (
    BLACK_HOLE,
    CUT_BODY,
    LOST_ANSWER,
    RESET,
    SHORT_BODY,
    SLOW_BODY,
    WHOLE_BODY,
    Fault,
    FaultProxy,
    Plan,
    Request,
    status,
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One of the faults in turn at every `every`-th request, `times` times at most.

    A lock that cannot be read is looked at again after five seconds, so those are left alone by wrong bodies.
    """

    faults: tuple[Fault, ...]
    every: int
    times: int | None = None
    complete: bool = True
    spares: str = "nothing"
    stuck_request_timeout_s: float = 30.0


TROUBLES = {
    "reset": Trouble((RESET,), every=10),
    "lost answer": Trouble((LOST_ANSWER,), every=7),
    "black hole": Trouble((BLACK_HOLE,), every=9, times=2, stuck_request_timeout_s=2.0),
    "statuses": Trouble((status(500), status(503), status(429, retry_after_s=1)), every=4, times=9),
    "cut and slow bodies": Trouble((CUT_BODY, SLOW_BODY), every=3, times=20),
    "wrong bodies": Trouble((SHORT_BODY, WHOLE_BODY), every=7, complete=False, spares="/locks/"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A real server with an empty repository, the proxy before it, and who judges what is left."""

    store: Store
    proxy: FaultProxy
    folder: Path
    restic: Restic

    def backup(self, source: Path, **settings: float) -> Outcome:
        """Back up through the proxy."""
        return backup(self.store, self.proxy.port, source, **settings)

    def trouble(self, trouble: Trouble, when: Callable[[Request], bool]) -> Plan:
        """From now on, at those requests."""

        def strikes(request: Request) -> bool:
            return when(request) and trouble.spares not in request.path

        return self.proxy.inject(*trouble.faults, every=trouble.every, times=trouble.times, when=strikes)

    def judge(self, *, complete: bool) -> None:
        """Real restic reads every byte and finds nothing wrong; a complete run has left its snapshot."""
        # Without a lock: it looks at the files beside the server, which need not see what changes there.
        done = self.restic.run("--no-lock", "check", "--read-data", repo=self.store.files, password=PASSWORD)
        assert b"no errors were found" in done.stdout
        assert len(self.files("snapshots")) == int(complete)

    def files(self, kind: str) -> set[str]:
        """What is stored."""
        site = Site(self.folder)
        site.repository = self.store.files
        return site.files(kind)


@pytest.fixture(params=STORES)
def line(request: pytest.FixtureRequest, tmp_path: Path, closing: ExitStack, restic_new: Restic) -> Line:
    """To each kind of server."""
    store = STORES[request.param](tmp_path / "server")
    closing.callback(store.close)
    store.create()
    return Line(store, closing.enter_context(FaultProxy(store.port)), tmp_path, restic_new)


@pytest.mark.parametrize("name", TROUBLES)
def test_backup_and_restore(line: Line, name: str, source: Path) -> None:
    """A bad line costs time and nothing else: no damaged pack, no index of packs that are not there, no wrong byte."""
    trouble = TROUBLES[name]
    timeout_s = trouble.stuck_request_timeout_s
    plan = line.trouble(trouble, lambda _request: True)
    saved = line.backup(source, stuck_request_timeout_s=timeout_s)
    assert plan.happened
    assert saved.is_complete or not trouble.complete, saved
    assert all(_pause_s(warning) >= 1.0 for warning in saved.warnings if re.search(r"\b429\b", warning))
    line.judge(complete=saved.is_complete)
    if saved.is_complete:
        assert not line.files("locks")
    line.proxy.heal()
    if not saved.is_complete:
        assert line.backup(source).is_complete

    plan = line.trouble(trouble, lambda request: request.reads)
    target = line.folder / "restored"
    read = restore(line.store, line.proxy.port, source, target, stuck_request_timeout_s=timeout_s)
    assert plan.happened
    assert read.is_complete or not trouble.complete, read
    if read.is_complete:
        assert digests(target) == digests(source)


@pytest.mark.parametrize("at", ["locks", "data", "index", "snapshots"])
def test_server_that_does_not_come_back(line: Line, at: str, source: Path) -> None:
    """Wherever the line goes for good, the run ends with its reason, and the next one goes on with what is there."""
    saves = itertools.count(1)
    gone = threading.Event()

    def is_gone(request: Request) -> bool:
        if request.writes and f"/{at}/" in request.path and next(saves) >= (3 if at == "data" else 1):
            gone.set()
        return gone.is_set()

    line.proxy.inject(status(503), when=is_gone)
    saved = line.backup(source, max_elapsed_s=0.3)
    assert saved.error is not None
    assert "503" in saved.error
    line.judge(complete=False)
    line.proxy.heal()
    assert line.backup(source).is_complete
    line.judge(complete=True)


@pytest.mark.parametrize("refused", [403, 507])
def test_refusal_is_told_at_once(line: Line, refused: int, source: Path) -> None:
    """A full server, or a key that may not write, is not asked again for a quarter of an hour."""
    plan = line.proxy.inject(status(refused), when=_saves_a_pack)
    saved = line.backup(source)
    assert saved.error is not None
    assert str(refused) in saved.error
    paths = [request.path for request in line.proxy.requests if _saves_a_pack(request)]
    assert len(set(paths)) == len(paths) == plan.happened
    line.judge(complete=False)


def _pause_s(warning: str) -> float:
    found = re.search(r"trying again in ([0-9.]+)s", warning)
    assert found is not None, warning
    return float(found[1])


def _saves_a_pack(request: Request) -> bool:
    return request.writes and "/data/" in request.path

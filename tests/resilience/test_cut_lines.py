"""SFTP over a line that breaks every few hundred kilobytes, and over one that takes its time."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.resilience.impatience import backup, restore
from tests.resilience.stores import Store, sftp_store
from tests.safety.files import digests
from tests.safety.program import PASSWORD
from tests.services.latency import LatencyProxy
from tests.services.tcp_count import CuttingProxy


@pytest.fixture
def store(tmp_path: Path, closing: ExitStack) -> Store:
    """A real sshd with an empty repository."""
    made = sftp_store(tmp_path / "server")
    closing.callback(made.close)
    made.create()
    return made


def test_line_that_breaks(store: Store, tmp_path: Path, source: Path, closing: ExitStack, restic_new: Restic) -> None:
    """In the middle of packets, of logins and of files: all is done again, no half file passes for a whole one."""
    upload = closing.enter_context(CuttingProxy(store.port, cut_after_bytes=1_300_000, times=5))
    saved = backup(store, upload.port, source)
    assert saved.is_complete, saved
    assert upload.cuts == 5
    assert saved.warnings
    done = restic_new.run("check", "--read-data", repo=store.files, password=PASSWORD)
    assert b"no errors were found" in done.stdout
    download = closing.enter_context(CuttingProxy(store.port, cut_after_bytes=1_700_000, times=3))
    read = restore(store, download.port, source, tmp_path / "restored")
    assert read.is_complete, read
    assert download.cuts == 3
    assert digests(tmp_path / "restored") == digests(source)


def test_line_that_breaks_for_good(store: Store, source: Path, closing: ExitStack, restic_new: Restic) -> None:
    """The run ends with an error of ours; what is stored is whole, and the next run goes on."""
    proxy = closing.enter_context(CuttingProxy(store.port, cut_after_bytes=600_000, times=None))
    saved = backup(store, proxy.port, source, max_elapsed_s=1.0)
    assert saved.error is not None
    done = restic_new.run("--no-lock", "check", "--read-data", repo=store.files, password=PASSWORD)
    assert b"no errors were found" in done.stdout
    assert backup(store, store.port, source).is_complete


def test_slow_answers(store: Store, tmp_path: Path, source: Path, closing: ExitStack) -> None:
    """With 20 ms between question and answer all goes on as without."""
    proxy = closing.enter_context(LatencyProxy(store.port, 0.02))
    saved = backup(store, proxy.port, source)
    assert saved.is_complete
    assert not saved.warnings
    assert restore(store, proxy.port, source, tmp_path / "restored").is_complete
    assert digests(tmp_path / "restored") == digests(source)

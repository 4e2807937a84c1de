"""The status file hook keeps the contract, and writes what happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from limpet.contracts.hooks import RunInfo, RunResult
from limpet.contracts.options import OptionValue
from limpet.errors import UsageError
from limpet.testing.hook import HookConformance
from limpet_hook_statusfile import StatusFileHook


class TestStatusFileHook(HookConformance):
    """All that Limpet asks of a hook."""

    hook_class = StatusFileHook

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, OptionValue]:
        """Where to write."""
        return {"path": str(tmp_path / "status.json"), "tag": "nightly"}


def test_what_is_written(tmp_path: Path) -> None:
    """The watcher goes red only if the file says so."""
    path = tmp_path / "status.json"
    hook = StatusFileHook({"path": str(path), "tag": None})
    hook.limpet_run_failed(run=RunInfo("backup", "path:/r"), result=RunResult(1, "no space left", {"files_new": 3}))
    status = json.loads(path.read_text())
    assert status["exit_code"] == 1
    assert status["error"] == "no space left"
    assert status["figures"] == {"files_new": 3}


def test_no_path() -> None:
    """A hook that writes nowhere looks like one that works."""
    with pytest.raises(UsageError, match=r"statusfile\.path"):
        StatusFileHook({"path": None, "tag": None})

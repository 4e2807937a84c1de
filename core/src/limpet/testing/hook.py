"""`HookConformance`: what every hook plugin must do, as a test class to derive from."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pluggy
import pytest

from limpet.contracts.hooks import HOOK_CONTRACT, PROJECT, Hook, HookSpecs, RunInfo, RunResult, SnapshotDraft
from limpet.contracts.options import OptionValue
from limpet.contracts.source import MadeStat
from limpet.errors import LimpetError
from limpet.progress import Progress
from limpet.testing.declarations import check_declared_options, check_stated_contract

PATHS_ASKED = 10_000
QUICK_S = 2.0
WAITED_S = 60.0


class HookConformance:
    """Derive a test class, set `hook_class`, and override `settings` if the hook needs some to start."""

    hook_class: ClassVar[type[Hook]]

    @pytest.fixture
    def settings(self) -> Mapping[str, OptionValue]:
        """Options the hook is built with, beside the defaults."""
        return {}

    @pytest.fixture
    def hook(self, settings: Mapping[str, OptionValue]) -> Hook:
        """A fresh hook with the defaults and the `settings`."""
        defaults = {option.name: option.default for option in self.hook_class.options}
        return self.hook_class({**defaults, **settings})

    @pytest.fixture
    def manager(self, hook: Hook) -> pluggy.PluginManager:
        """The hook as a run calls it."""
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(HookSpecs)
        manager.register(hook)
        return manager

    @pytest.fixture
    def run_info(self, tmp_path: Path) -> RunInfo:
        """A backup to be told about."""
        return RunInfo(
            "backup",
            f"path:{tmp_path}",
            ["backup", str(tmp_path)],
            "conformance",
            run_id="6f1d7c1e-0000-4000-8000-000000000001",
            started_ns=time.time_ns(),
            profile="home",
        )

    def test_states_its_contract(self) -> None:
        """A plugin that does not say what it was built for fails in a user's run instead of at its start."""
        check_stated_contract(self.hook_class, HOOK_CONTRACT)

    def test_options_are_well_declared(self) -> None:
        """A bad declaration breaks `-o`, the help and the docs at once."""
        check_declared_options(self.hook_class.options)

    def test_implements_hooks_that_exist(self, manager: pluggy.PluginManager, hook: Hook) -> None:
        """A hook with a misspelt name would never be called, and nobody would know."""
        manager.check_pending()
        assert manager.get_hookcallers(hook), "implements no hook at all"

    def test_a_good_run(self, manager: pluggy.PluginManager, run_info: RunInfo, tmp_path: Path) -> None:
        """A hook that stumbles over an ordinary run makes every backup fail."""
        call = manager.hook
        call.limpet_run_started(run=run_info)
        for answer in call.limpet_source_prepare(run=run_info, path=str(tmp_path), scheme="path"):
            assert os.path.isabs(answer), f"not an absolute path to read instead: {answer!r}"
        made = MadeStat(stat.S_IFREG | 0o644, 0)
        for answer in call.limpet_path_excluded(path=os.fsencode(tmp_path / "x"), stat=made):
            assert isinstance(answer, bool)
        draft = SnapshotDraft("conformance", [str(tmp_path)], ["kept"])
        call.limpet_progress(run=run_info, progress=Progress("backup"))
        call.limpet_snapshot_saving(run=run_info, draft=draft)
        assert all(isinstance(tag, str) for tag in draft.tags)
        assert isinstance(draft.description, str)
        call.limpet_source_release(run=run_info, path=str(tmp_path), scheme="path", error=None)
        figures: dict[str, int | float | str] = {"files_new": 1, "data_added": 2.5, "snapshot_id": "ab12"}
        log = ["using parent snapshot 12345678", "snapshot ab12 saved"]
        ended_ns = run_info.started_ns + 10**9
        end(manager, run_info, RunResult(0, None, figures, log=log, repository_id="ab12", ended_ns=ended_ns))

    def test_a_failed_run(self, manager: pluggy.PluginManager, run_info: RunInfo) -> None:
        """The report of a failure must not itself fail, with or without an error's text."""
        manager.hook.limpet_run_started(run=run_info)
        end(manager, run_info, RunResult(1, "no space left on device"))
        end(manager, run_info, RunResult(130))

    def test_failure_before_the_start(self, manager: pluggy.PluginManager, run_info: RunInfo) -> None:
        """A wrong password ends a run before it started; hooks are told of the failure alone."""
        end(manager, run_info, RunResult(12, "wrong password"))

    def test_a_failure_that_another_hook_adds(self, manager: pluggy.PluginManager, run_info: RunInfo) -> None:
        """The run had ended well, then another hook failed: one that cannot take that reports nothing at all."""
        manager.hook.limpet_run_started(run=run_info)
        manager.hook.limpet_run_finished(run=run_info, result=RunResult(0))
        manager.hook.limpet_run_ended(run=run_info, result=RunResult(1, "hook other failed"))

    def test_any_words_pass(self, manager: pluggy.PluginManager, run_info: RunInfo) -> None:
        """Names of files are any bytes, and are in messages: a report that they break is missed in the worst case."""
        awkward = "na\udcffme\0 \x1b[1m \N{GRINNING FACE} <&\"'{}%s"
        run = replace(run_info, arguments=[awkward], profile=awkward, location=awkward)
        manager.hook.limpet_run_started(run=run)
        log = [awkward] * 3000
        end(manager, run, RunResult(1, f"{awkward}\nsecond line", {"files_new": 1}, warnings=3000, log=log))

    def test_release_of_what_was_not_prepared(
        self, manager: pluggy.PluginManager, run_info: RunInfo, tmp_path: Path
    ) -> None:
        """Release is called also where preparing failed half-way, in this hook or in another."""
        for error in ("no space left on device", None):
            path = str(tmp_path / "never prepared")
            manager.hook.limpet_source_release(run=run_info, path=path, scheme="path", error=error)

    def test_what_is_no_path_passes_by(self, manager: pluggy.PluginManager, run_info: RunInfo) -> None:
        """Hooks are told of databases and devices too: one that takes any name for a path would make them fail."""
        for scheme, path in (("postgres", "//app@localhost/shop"), ("stdin", "stdin")):
            for answer in manager.hook.limpet_source_prepare(run=run_info, path=path, scheme=scheme):
                assert os.path.isabs(answer), f"not an absolute path to read instead: {answer!r}"
            manager.hook.limpet_source_release(run=run_info, path=path, scheme=scheme, error=None)

    def test_standard_output_is_left_alone(
        self,
        manager: pluggy.PluginManager,
        run_info: RunInfo,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """Standard output belongs to the command: one stray line breaks every program that reads its JSON."""
        manager.hook.limpet_run_started(run=run_info)
        end(manager, run_info, RunResult(0))
        end(manager, run_info, RunResult(1, "x"))
        assert capfd.readouterr().out == ""

    def test_the_process_is_left_as_it_was(self, manager: pluggy.PluginManager, run_info: RunInfo) -> None:
        """It is that of the backup: another folder, environment or way with signals would change what that does."""
        before = _process_state()
        manager.hook.limpet_run_started(run=run_info)
        end(manager, run_info, RunResult(0))
        assert _process_state() == before
        assert [thread.name for thread in threading.enumerate() if not thread.daemon] == ["MainThread"]

    def test_excluding_is_quick(self, manager: pluggy.PluginManager, tmp_path: Path) -> None:
        """It is asked for every path: a slow answer multiplies by millions of files."""
        made = MadeStat(stat.S_IFREG | 0o644, 0)
        folder = os.fsencode(tmp_path)
        begin, begin_cpu = time.monotonic(), time.process_time()  # of which a busy machine takes nothing
        for number in range(PATHS_ASKED):
            manager.hook.limpet_path_excluded(path=b"%b/%d" % (folder, number), stat=made)
        assert time.process_time() - begin_cpu < QUICK_S
        assert time.monotonic() - begin < WAITED_S

    def test_secrets_do_not_show(self, settings: Mapping[str, OptionValue]) -> None:
        """A repr ends in logs and tracebacks, and so does the error of a hook that cannot use what it is given."""
        secrets = {option.name: f"hidden-{option.name}" for option in self.hook_class.options if option.secret}
        defaults = {option.name: option.default for option in self.hook_class.options}
        for name, secret in secrets.items():
            try:
                hook = self.hook_class({**defaults, **settings, name: secret})
            except LimpetError as error:
                shown = "".join(traceback.format_exception(error))
            else:
                shown = repr(hook)
            assert secret not in shown


def end(manager: pluggy.PluginManager, run: RunInfo, result: RunResult) -> None:
    """Tell the hooks of the end of a run as a run does."""
    told = manager.hook.limpet_run_finished if result.is_good else manager.hook.limpet_run_failed
    told(run=run, result=result)
    manager.hook.limpet_run_ended(run=run, result=result)


def _process_state() -> tuple[object, ...]:
    mask = os.umask(0)
    os.umask(mask)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return os.getcwd(), dict(os.environ), mask, handlers

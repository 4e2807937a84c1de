"""The shell hook: when its commands run, what they are told, what they never see, and how they fail."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from limpet.contracts.hooks import RunInfo, RunResult
from limpet.contracts.options import OptionValue
from limpet.errors import HookError, UsageError
from limpet.registry import hooks
from limpet.testing.hook import HookConformance
from limpet_hook_shell import ShellHook
from limpet_hook_shell.environment import hook_environment

RUN = RunInfo("backup", "rest:https://u:***@host/", ["/home/me", "it's"], "vm")


def writes(path: Path, text: str) -> str:
    """A command line that appends `text` to a file."""
    return f"printf %s {shlex.quote(text)} >> {shlex.quote(str(path))}"


class TestShellHookConformance(HookConformance):
    """What every hook must do, with commands that talk on standard output."""

    hook_class = ShellHook

    @pytest.fixture
    def settings(self) -> Mapping[str, OptionValue]:
        """A command at each moment."""
        return {"before": "echo before", "after": "echo after", "failed": "echo failed"}


@pytest.mark.parametrize(
    ("exit_code", "expected"), [(0, "before after"), (3, "before after"), (1, "before failed"), (130, "before failed")]
)
def test_moments(tmp_path: Path, exit_code: int, expected: str) -> None:
    """The service stopped before the backup has to be started after it, whatever came of it."""
    log = tmp_path / "log"
    options = {f"shell.{moment}": writes(log, f"{moment} ") for moment in ("before", "after", "failed")}
    caller = hooks(options, run=RUN)
    caller.started()
    caller.ended(RunResult(exit_code))
    assert log.read_text().strip() == expected


def test_what_a_command_is_told(tmp_path: Path) -> None:
    """A script that reports the outcome reads it from these variables."""
    told = tmp_path / "told.json"
    program = f"import json,os; json.dump(dict(os.environ), open({str(told)!r}, 'w'))"
    caller = hooks({"shell.failed": shlex.join([sys.executable, "-c", program])}, run=RUN)
    caller.ended(RunResult(1, "no\0 space", {"data_added": 17}))
    variables = json.loads(told.read_text())
    assert variables["LIMPET_HOOK"] == "failed"
    assert variables["LIMPET_RUN_COMMAND"] == "backup"
    assert variables["LIMPET_RUN_LOCATION"] == RUN.location
    assert shlex.split(variables["LIMPET_RUN_ARGUMENTS"]) == RUN.arguments
    assert variables["LIMPET_EXIT_CODE"] == "1"
    assert variables["LIMPET_ERROR"] == "no? space"
    assert variables["LIMPET_FIGURE_DATA_ADDED"] == "17"
    assert variables["PATH"] == os.environ["PATH"]


def test_secrets_stay_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hook's command, and all it starts, could read the repository's password from its environment."""
    secret = {
        "LIMPET_PASSWORD": "s3cret",
        "RESTIC_PASSWORD": "s3cret",
        "RESTIC_PASSWORD_COMMAND": "echo s3cret",
        "RESTIC_FROM_PASSWORD": "s3cret",
        "RESTIC_REPOSITORY": "rest:https://u:s3cret@host/",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "B2_ACCOUNT_KEY": "s3cret",
        "OS_AUTH_TOKEN": "s3cret",
    }
    for name, value in secret.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HARMLESS", "shown")
    out = tmp_path / "environment"
    hooks({"shell.before": f"env > {shlex.quote(str(out))}"}, run=RUN).started()
    assert "s3cret" not in out.read_text()
    assert "HARMLESS=shown" in out.read_text()


def test_a_secret_is_passed_where_asked() -> None:
    """A command that dumps a database may need the database's password, and only that."""
    environ = {"PGPASSWORD": "a", "RESTIC_PASSWORD": "b"}
    passed = hook_environment("before", RUN, None, passed={"PGPASSWORD"}, environ=environ)
    assert passed.get("PGPASSWORD") == "a"
    assert "RESTIC_PASSWORD" not in passed


def test_failing_command_stops_the_run() -> None:
    """A backup without the dump that `before` should have made would look fine and be worthless."""
    with pytest.raises(HookError, match=r"hook shell failed at run started: 'exit 7' exited with code 7"):
        hooks({"shell.before": "exit 7"}, run=RUN).started()


def test_a_killed_command_is_told() -> None:
    """Out of memory is no success."""
    with pytest.raises(HookError, match="was killed by signal 9"):
        hooks({"shell.before": "kill -9 $$"}, run=RUN).started()


def test_on_error_warn(recwarn: pytest.WarningsRecorder) -> None:
    """A monitoring service that is down must not stop backups, where the user said so."""
    hooks({"shell.before": "exit 7", "shell.on_error": "warn"}, run=RUN).started()


def test_timeout_ends_all_that_was_started(tmp_path: Path) -> None:
    """A hook that hangs would keep every later backup from running, and its children would go on for ever."""
    mark = tmp_path / "still alive"
    line = f"(sleep 2; touch {shlex.quote(str(mark))}) & sleep 60"
    begin = time.monotonic()
    with pytest.raises(HookError, match=r"took longer than 0.3 s"):
        hooks({"shell.before": line, "shell.timeout": "300ms"}, run=RUN).started()
    assert time.monotonic() - begin < 10
    time.sleep(2.2)
    assert not mark.exists()


def test_only_for_some_commands(tmp_path: Path) -> None:
    """Stopping the database for a listing of snapshots would be a surprise."""
    log = tmp_path / "log"
    options = {"shell.before": writes(log, "x"), "shell.commands": "backup, prune"}
    hooks(options, run=RunInfo("snapshots", "path:/r")).started()
    assert not log.exists()
    hooks(options, run=RunInfo("prune", "path:/r")).started()
    assert log.exists()


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_bad_timeout(timeout: str) -> None:
    """A wrong setting has to be told before the backup, not in it."""
    with pytest.raises(UsageError, match=r"shell.timeout"):
        hooks({"shell.timeout": timeout}, run=RUN)

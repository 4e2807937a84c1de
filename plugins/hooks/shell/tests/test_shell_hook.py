"""The shell hook: when its commands run, what they are told, what they never see, and how they fail."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from limpet.contracts.hooks import RunInfo, RunResult
from limpet.contracts.options import OptionValue
from limpet.errors import HookError, SourceError, UsageError
from limpet.operations.hooks import RunHooks
from limpet.registry import hooks
from limpet.registry.hook_calls import HookCaller
from limpet.testing.hook import HookConformance
from limpet.testing.listening import Listening
from limpet_hook_shell import ShellHook
from limpet_hook_shell.moment import safe_environment

RUN = RunInfo(
    "backup",
    "rest:https://u:***@host/",
    ["/home/me", "it's"],
    "vm",
    run_id="d0c5",
    started_ns=1_700_000_000 * 10**9,
    profile="home",
)
MOMENTS = ("before", "after", "failed", "finally")


def writes(path: Path, text: str) -> str:
    """A command line that appends `text` to a file."""
    return f"printf %s {shlex.quote(text)} >> {shlex.quote(str(path))}"


class TestShellHookConformance(HookConformance):
    """What every hook must do, with commands that talk on standard output."""

    hook_class = ShellHook

    @pytest.fixture
    def settings(self) -> Mapping[str, OptionValue]:
        """A command at each moment."""
        return {option.name: "echo $LIMPET_HOOK" for option in ShellHook.options[:8]}


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (0, "before after finally"),
        (3, "before after finally"),
        (1, "before failed finally"),
        (130, "before failed finally"),
    ],
)
def test_moments(tmp_path: Path, exit_code: int, expected: str) -> None:
    """The service stopped before the backup has to be started after it, whatever came of it."""
    log = tmp_path / "log"
    options = {f"shell.{moment}": writes(log, f"{moment} ") for moment in MOMENTS}
    caller = hooks(options, run=RUN)
    caller.started()
    caller.ended(RunResult(exit_code))
    assert log.read_text().strip() == expected


def told(caller: RunHooks, result: RunResult, folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The variables and the document that the commands of the option `failed` got."""
    caller.ended(result)
    return json.loads((folder / "variables").read_text()), json.loads((folder / "document").read_text())


def keeps(folder: Path) -> str:
    """A command line that keeps what it is told in two files."""
    program = (
        "import json, os, sys; json.dump(dict(os.environ), open('variables', 'w'));"
        " open('document', 'w').write(sys.stdin.read())"
    )
    return f"cd {shlex.quote(str(folder))} && {shlex.join([sys.executable, '-c', program])}"


def test_what_a_command_is_told(tmp_path: Path) -> None:
    """A script that reports the outcome reads it from these variables, a program from the document."""
    caller = hooks({"shell.failed": keeps(tmp_path)}, run=RUN)
    result = RunResult(
        1,
        "no\0 space",
        {"data_added": 17},
        warnings=2,
        log=["first", "na\udcffme"],
        repository_id="ab12",
        ended_ns=RUN.started_ns + 1_500_000_000,
    )
    variables, document = told(caller, result, tmp_path)
    expected = {
        "LIMPET_HOOK": "failed",
        "LIMPET_RUN_ID": "d0c5",
        "LIMPET_RUN_COMMAND": "backup",
        "LIMPET_RUN_LOCATION": RUN.location,
        "LIMPET_RUN_HOSTNAME": "vm",
        "LIMPET_RUN_PROFILE": "home",
        "LIMPET_RUN_STARTED": "2023-11-14T22:13:20Z",
        "LIMPET_EXIT_CODE": "1",
        "LIMPET_ERROR": "no? space",
        "LIMPET_WARNINGS": "2",
        "LIMPET_REPOSITORY_ID": "ab12",
        "LIMPET_DURATION_S": "1.500",
        "LIMPET_FIGURE_DATA_ADDED": "17",
        "PATH": os.environ["PATH"],
    }
    assert {name: variables.get(name) for name in expected} == expected
    assert shlex.split(variables["LIMPET_RUN_ARGUMENTS"]) == RUN.arguments
    assert document == {
        "moment": "failed",
        "run": {
            "id": "d0c5",
            "command": "backup",
            "location": RUN.location,
            "arguments": ["/home/me", "it's"],
            "hostname": "vm",
            "profile": "home",
            "started": "2023-11-14T22:13:20Z",
        },
        "result": {
            "exit_code": 1,
            "error": "no\0 space",
            "warnings": 2,
            "repository_id": "ab12",
            "ended": "2023-11-14T22:13:21Z",
            "duration_s": 1.5,
            "figures": {"data_added": 17},
            "log": ["first", "na\udcffme"],
        },
    }


def test_much_to_tell(tmp_path: Path) -> None:
    """A line longer than the system takes in a variable must not keep the command from being started."""
    caller = hooks({"shell.failed": keeps(tmp_path)}, run=RUN)
    variables, document = told(caller, RunResult(1, "ü" * 200_000, log=["line"] * 50_000), tmp_path)
    assert set(variables["LIMPET_ERROR"]) == {"ü"}
    assert document["result"]["error"] == "ü" * 200_000
    assert len(document["result"]["log"]) == 50_000


def test_a_command_need_not_read(tmp_path: Path) -> None:
    """Most commands leave their standard input alone: neither a closed nor a full pipe is an error."""
    mark = tmp_path / "mark"
    caller = hooks({"shell.after": f"exec <&-; sleep 0.1; touch {shlex.quote(str(mark))}"}, run=RUN)
    caller.ended(RunResult(0, log=["line"] * 50_000))
    assert mark.exists()


SOURCE_MOMENTS = ("source_before", "source_after", "source_failed", "source_finally")


@pytest.mark.parametrize("fails", [False, True])
def test_each_source(tmp_path: Path, fails: bool) -> None:
    """The database that is frozen for its dump, and it alone, has to go on whatever came of the backup."""
    log = tmp_path / "log"
    line = f'echo "$LIMPET_HOOK $LIMPET_SOURCE_SCHEME $LIMPET_SOURCE $LIMPET_SOURCE_ERROR" >> {shlex.quote(str(log))}'
    caller = hooks({f"shell.{moment}": line for moment in SOURCE_MOMENTS}, run=RUN)
    arguments = {"path": ["/home/me"], "postgres": ["//u:pass@host/shop"]}
    with pytest.raises(SourceError) if fails else nullcontext(), caller.prepared(arguments) as read_from:
        assert read_from == {}
        if fails:
            raise SourceError("cut off")
    how = "failed" if fails else "after"
    error = "cut off" if fails else ""
    assert [line.rstrip() for line in log.read_text().splitlines()] == [
        "source_before path /home/me",
        "source_before postgres postgres://u:***@host/shop",
        f"source_{how} postgres postgres://u:***@host/shop {error}".rstrip(),
        f"source_finally postgres postgres://u:***@host/shop {error}".rstrip(),
        f"source_{how} path /home/me {error}".rstrip(),
        f"source_finally path /home/me {error}".rstrip(),
    ]


def test_failing_source_before(tmp_path: Path) -> None:
    """What could not be frozen must not be saved; what was frozen before it has to be released."""
    log = tmp_path / "log"
    options = {
        "shell.source_before": "test $LIMPET_SOURCE = /a",
        "shell.source_failed": f"echo $LIMPET_SOURCE >> {shlex.quote(str(log))}",
    }
    with (
        pytest.raises(HookError, match=r"hook shell failed at source prepare: the command of shell.source_before exit"),
        hooks(options, run=RUN).prepared({"path": ["/a", "/b", "/c"]}),
    ):
        pytest.fail("the body must not run")
    assert log.read_text() == "/b\n/a\n"


def test_failing_after_is_a_failed_run(tmp_path: Path) -> None:
    """The service that `after` should have started is down: `failed` is where the user is told of it."""
    log = tmp_path / "log"
    options = {
        "shell.after": "exit 4",
        "shell.failed": f'echo "$LIMPET_EXIT_CODE $LIMPET_ERROR" >> {shlex.quote(str(log))}',
        "shell.finally": writes(log, "finally"),
    }
    with pytest.raises(HookError, match=r"shell.after exited with code 4"):
        hooks(options, run=RUN).ended(RunResult(0))
    assert log.read_text().splitlines() == [
        "1 hook shell failed at run finished: the command of shell.after exited with code 4",
        "finally",
    ]


def test_failing_failed_does_not_keep_finally_from_running(tmp_path: Path) -> None:
    """The clean-up has to run also where the message about the failure could not be sent; both are told."""
    mark = tmp_path / "mark"
    options = {"shell.failed": "exit 4", "shell.finally": f"touch {shlex.quote(str(mark))}; exit 5"}
    words = r"shell.failed exited with code 4; the command of shell.finally exited with code 5"
    with pytest.raises(HookError, match=words):
        hooks(options, run=RUN).ended(RunResult(1))
    assert mark.exists()


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
        "LIMPET_HEALTHCHECKS_URL": "https://hc.example/s3cret",
        "LIMPET_NOTIFY_URLS": "tgram://s3cret/1",
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
    passed = safe_environment(environ, {}, frozenset({"PGPASSWORD"}))
    assert passed.get("PGPASSWORD") == "a"
    assert "RESTIC_PASSWORD" not in passed


def test_failing_command_stops_the_run() -> None:
    """A backup without the dump that `before` should have made would look fine and be worthless."""
    with pytest.raises(
        HookError, match=r"hook shell failed at run started: the command of shell.before exited with code 7"
    ):
        hooks({"shell.before": "exit 7"}, run=RUN).started()


def test_a_killed_command_is_told() -> None:
    """Out of memory is no success."""
    with pytest.raises(HookError, match="was killed by signal 9"):
        hooks({"shell.before": "kill -9 $$"}, run=RUN).started()


def test_the_command_line_is_not_told() -> None:
    """It may hold a secret, and a run's error goes out to whoever monitors it."""
    with pytest.raises(HookError) as caught:
        hooks({"shell.before": "curl --fail -u me:s3cret http://127.0.0.1:9/"}, run=RUN).started()
    assert "s3cret" not in str(caught.value)


def test_on_error_warn() -> None:
    """A monitoring service that is down must not stop backups, where the user said so."""
    hooks({"shell.before": "exit 7", "shell.on_error": "warn"}, run=RUN).started()


def test_timeout_ends_all_that_was_started(tmp_path: Path) -> None:
    """A hook that hangs would keep every later backup from running, and its children would go on for ever."""
    held = tmp_path / "held"
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    try:
        line = f"exec > {shlex.quote(str(held))}; echo begun; sleep 600 & sleep 600"
        with pytest.raises(HookError, match=r"took longer than 3 s"):
            hooks({"shell.before": line, "shell.timeout": "3s"}, run=RUN).started()
        os.set_blocking(reader, True)
        with os.fdopen(os.dup(reader), "rb") as output:
            assert output.read() == b"begun\n"  # to its end, which comes when nobody lives who could write
    finally:
        os.close(reader)


def test_a_long_command_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump may take an hour: a warning each night, and a success that counts as half a one, teach to look away."""
    monkeypatch.setattr("limpet.registry.plugin_calls.LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("limpet.registry.plugin_calls.QUIET_S", 0.1)
    reporter = Listening()
    hooks({"shell.before": "sleep 0.5"}, run=RUN, reporter=reporter).started()
    assert reporter.warnings == []
    impatient = HookCaller(RUN, reporter)
    hook = ShellHook({option.name: option.default for option in ShellHook.options} | {"before": "sleep 0.5"})
    monkeypatch.setattr(ShellHook, "limits_its_time", False)
    impatient.add("shell", hook)
    impatient.started()
    assert reporter.warnings[0].startswith("the hook plugin 'shell' has not come back for"), (
        "else nothing is shown here"
    )


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

"""`limpet run`: steps in their order, the worst exit code, hooks once around it, never twice at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from limpet import registry
from limpet.cli.configuration.execution import worst
from limpet.format.kdf import KdfParameters, new_salt
from limpet.repository.repository import Repository

if TYPE_CHECKING:
    from .conftest import Run

PASSWORD = "geheim-5f3a"
RUNNING = 75
TIMEOUT_S = 60.0


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile `home` with the repository `one`; beside it the repository `two`, and a folder `work`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "file").write_text("content")
    (tmp_path / "work" / "file.tmp").write_text("rubbish")
    (tmp_path / "password").write_text(PASSWORD)
    file = tmp_path / "limpet.toml"
    file.write_text(
        """
        [repositories]
        one = { location = "one", password-file = "password" }
        two = { location = "two", password-file = "password" }
        [profiles.base]
        excludes = ["*.tmp"]
        flags.no-cache = true
        [profiles.home]
        inherits = "base"
        repositories = ["one"]
        sources = ["work"]
        """
    )
    for name in ("one", "two"):
        location = registry.open_backend(str(tmp_path / name))
        Repository.create(location, PASSWORD, kdf=KdfParameters(16, 1, 1, new_salt())).close()
    return file


BOTH = 'extend-repositories = ["two"]\n'


def add(config: Path, text: str) -> None:
    """Add lines to the profile `home`."""
    with config.open("a") as file:
        file.write(text)


def snapshots(run: Run, repository: Path) -> Any:
    """What `limpet snapshots --json` says of a repository."""
    password = repository.parent / "password"
    return run("snapshots", "--json", "--no-cache", "-r", repository, "-p", password).document


def test_steps_in_every_repository(run: Run, config: Path) -> None:
    """A repository or a step that is passed over is missed on the day when it is needed."""
    add(config, BOTH + 'retention = { keep-last = 1, prune = true }\ncheck = { read-data = true }\ntag = "nightly"\n')
    ended = run("run", "home", "--config", config)
    assert (ended.exit_code, ended.err) == (0, "")
    steps = [line for line in ended.out.splitlines() if line.startswith("[")]
    assert [step for step in steps if "/6] " in step] == [
        "[1/6] backup: one", "[2/6] backup: two", "[3/6] forget: one", "[4/6] forget: two", "[5/6] check: one",
        "[6/6] check: two",
    ]  # fmt: skip
    for name in ("one", "two"):
        (snapshot,) = snapshots(run, config.parent / name)
        assert snapshot["tags"] == ["nightly"]
        assert snapshot["paths"] == [str(config.parent / "work")]
        assert snapshot["summary"]["total_files_processed"] == 1


def test_retention_spares_what_others_made(run: Run, config: Path) -> None:
    """Two profiles that share a repository would remove each other's snapshots."""
    add(config, 'retention.keep-last = 1\n[profiles.other]\ninherits = "home"\nretention.keep-last = 1\n')
    place = ("--no-cache", "-r", config.parent / "one", "-p", config.parent / "password")
    assert run("backup", *place, config.parent / "work", "--quiet").exit_code == 0
    assert run("backup", *place, config.parent / "work", "--quiet", "--tag", "home", "--host", "web").exit_code == 0
    for name in ("home", "other", "home"):
        assert run("run", name, "--config", config).exit_code == 0
    found = [(one.get("tags"), one["hostname"] == "web") for one in snapshots(run, config.parent / "one")]
    assert found == [(None, False), (["home"], True), (["other"], False), (["home"], False)]


def test_a_dry_run_writes_nothing(run: Run, config: Path) -> None:
    """The first try of a profile would already remove snapshots."""
    add(config, "retention = { keep-last = 1, prune = true }\ncheck = {}\n")
    before = sorted(config.parent.glob("[ot]*/**/*"))
    ended = run("run", "home", "--dry-run", "--config", config)
    assert ended.exit_code == 0
    assert "[2/2] forget: one" in ended.out
    assert sorted(config.parent.glob("[ot]*/**/*")) == before


def test_a_failure_leaves_the_other_repositories_alone(run: Run, config: Path) -> None:
    """One server that is down would keep the others without a backup, or lose their old snapshots all the same."""
    add(config, BOTH + "retention.keep-last = 1\n")
    (config.parent / "one" / "config").unlink()
    ended = run("run", "home", "--config", config)
    assert ended.exit_code == 10
    assert ended.err.splitlines()[-1] == "profile 'home': failed, backup in one: exit code 10"
    assert "forget   one         left out, as an earlier command failed here" in ended.out
    assert "forget   two         ok" in ended.out
    assert len(snapshots(run, config.parent / "two")) == 1


def test_incomplete_stays_incomplete(run: Run, config: Path) -> None:
    """Exit code 3 as a failure would keep old snapshots forever; as a success nobody would look."""
    add(config, 'extend-sources = ["none"]\nretention.keep-last = 1\n')
    ended = run("run", "home", "--config", config)
    assert ended.exit_code == 3
    assert "backup   one         incomplete (exit code 3)" in ended.out
    assert "forget   one         ok" in ended.out


@pytest.mark.parametrize(
    ("codes", "code"),
    [([], 0), ([0, 0], 0), ([0, 3, 0], 3), ([3, 1], 1), ([12, 3, 1], 12), ([0, 11, 0], 11), ([130, 3], 130)],
)
def test_the_worst_exit_code(codes: list[int], code: int) -> None:
    """A monitor would see a success where a command failed."""
    assert worst(codes) == code


def test_documents(run: Run, config: Path) -> None:
    """A program could not tell which command said what."""
    documents = [json.loads(line) for line in run("run", "home", "--config", config, "--json").out.splitlines()]
    kinds = [document["message_type"] for document in documents if document["message_type"] != "status"]
    assert kinds == ["run_step", "summary", "run_summary"]
    assert documents[0] == {"message_type": "run_step", "step": 1, "steps": 1, "command": "backup", "repository": "one"}
    last = documents[-1]
    assert (last["profile"], last["exit_code"]) == ("home", 0)
    assert [(one["command"], one["repository"], one["exit_code"]) for one in last["commands"]] == [("backup", "one", 0)]


def test_flags_of_the_run_go_on_to_its_commands(run: Run, config: Path) -> None:
    """`-v` to find out what is wrong would say nothing more."""
    assert "start backup on" in run("run", "home", "--config", config, "-v").out
    assert "start backup on" in run("-v", "run", "home", "--config", config).out
    assert run("run", "home", "--config", config, "-q").out == ""
    ended = run("run", "home", "--config", config, "-o", "local.connections=none")
    assert "'none' is no integer" in ended.err
    for flags in (["-r", "x"], ["--password-file", "x"]):
        ended = run(*flags, "run", "home", "--config", config)
        assert ended.exit_code == 1
        assert "and a profile contradict each other" in ended.err


def test_the_environment_of_another_repository_is_not_taken_over(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell of whoever tries a profile may be set up for another repository."""
    for name in ("LIMPET_REPOSITORY", "RESTIC_REPOSITORY_FILE", "RESTIC_PASSWORD", "LIMPET_PASSWORD_COMMAND"):
        monkeypatch.setenv(name, "/none")
    assert run("run", "home", "--config", config).exit_code == 0


def test_a_folder_with_the_name_of_the_program_is_not_run(run: Run, config: Path) -> None:
    """Commands run in the folder of the configuration: a `limpet` in it must not be imported."""
    (config.parent / "limpet").mkdir()
    (config.parent / "limpet" / "__init__.py").write_text("raise SystemExit(99)")
    (config.parent / "click.py").write_text("raise SystemExit(99)")
    assert run("run", "home", "--config", config).exit_code == 0


def test_hooks_around_the_run_and_in_its_commands(run: Run, config: Path) -> None:
    """A monitor would hear of every command, or of none."""
    log = config.parent / "log"
    line = f'echo "$LIMPET_HOOK $LIMPET_RUN_COMMAND $LIMPET_RUN_PROFILE $LIMPET_EXIT_CODE" >> {log}'
    add(
        config,
        f"""
        retention.keep-last = 1
        hooks = {{ run = ["shell"], retention = ["shell"] }}
        options.shell = {{ before = '{line}', after = '{line}', failed = '{line}' }}
        """,
    )
    assert run("run", "home", "--config", config).exit_code == 0
    words = [entry.split() for entry in log.read_text().splitlines()]
    assert [(word[0], word[1]) for word in words] == [
        ("before", "run"),
        ("before", "forget"),
        ("after", "forget"),
        ("after", "run"),
    ]
    assert words[-1][-1] == "0"
    log.unlink()
    (config.parent / "one" / "config").unlink()
    assert run("run", "home", "--config", config).exit_code == 10
    last = log.read_text().splitlines()[-1].split()
    assert (last[0], last[1], last[-1]) == ("failed", "run", "10")


def test_a_hook_that_fails_before_the_run_stops_it(run: Run, config: Path) -> None:
    """The disk that the hook was to mount is not there: a backup into the empty folder helps nobody."""
    add(config, 'hooks.run = ["shell"]\noptions.shell.before = "exit 5"\n')
    ended = run("run", "home", "--config", config)
    assert ended.exit_code == 1
    assert "hook shell failed at run started" in ended.err
    assert "[1/1]" not in ended.out


# -- processes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def slow(config: Path) -> Iterator[subprocess.Popen[str]]:
    """A run whose backup waits for a command that does not end."""
    add(config, f"extend-sources = ['command:slow=sh -c \"echo $$ > {config.parent}/pid; exec sleep 600\"']\n")
    started = subprocess.Popen(
        [sys.executable, "-m", "limpet.cli.main", "run", "home", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_until((config.parent / "pid").exists)
    _wait_until(lambda: (config.parent / "pid").read_text().strip() != "")
    yield started
    with contextlib.suppress(ProcessLookupError):  # what holds the pipes has to end first
        os.kill(int((config.parent / "pid").read_text()), signal.SIGKILL)
    started.communicate(timeout=TIMEOUT_S)


def test_a_profile_runs_once_at_a_time(run: Run, config: Path, slow: subprocess.Popen[str]) -> None:
    """Two runs would fight for the repository's lock, and the second would fail for no reason that helps."""
    ended = run("run", "home", "--config", config)
    assert ended.exit_code == RUNNING
    assert ended.err.startswith(f"the profile 'home' is running already (process {slow.pid}, since 20")
    assert ended.out == ""
    linked = config.parent / "link.toml"
    linked.symlink_to(config)
    assert run("run", "home", "--config", linked).exit_code == RUNNING


def test_sigterm_ends_the_command_with_its_clean_up(run: Run, config: Path, slow: subprocess.Popen[str]) -> None:
    """systemd stops a service so: a lock that stays would block the next night, too."""
    slow.send_signal(signal.SIGTERM)
    _, err = slow.communicate(timeout=TIMEOUT_S)
    assert slow.returncode == 130
    assert "interrupted" in err
    assert list((config.parent / "one" / "locks").iterdir()) == []
    assert not _is_running(int((config.parent / "pid").read_text()))
    assert snapshots(run, config.parent / "one") == []
    config.write_text(config.read_text().rpartition("extend-sources")[0])
    assert run("run", "home", "--config", config).exit_code == 0


def test_a_run_that_was_killed_still_runs_while_its_command_does(
    run: Run, config: Path, slow: subprocess.Popen[str]
) -> None:
    """After `kill -9` the backup goes on by itself: a second one beside it is what the lock is there to prevent."""
    slow.kill()
    slow.wait()
    assert run("run", "home", "--config", config).exit_code == RUNNING
    os.kill(int((config.parent / "pid").read_text()), signal.SIGKILL)
    config.write_text(config.read_text().rpartition("extend-sources")[0])
    _wait_until(lambda: run("run", "home", "--config", config).exit_code != RUNNING)
    assert run("run", "home", "--config", config).exit_code == 0


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until(condition: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)

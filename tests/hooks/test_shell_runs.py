"""The shell hook in real runs of the command line: its moments, its failures, Ctrl-C and SIGTERM."""

from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path

import pytest

from tests.hooks.desk import PASSWORD, Desk, made_desk
from tests.services.waiting import wait_for

MOMENTS = ("before", "source_before", "source_after", "source_failed", "source_finally", "after", "failed", "finally")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A repository and something to save."""
    return made_desk(tmp_path_factory.mktemp("desk"))


def telling(log: Path, **instead: str) -> list[str]:
    """Options that have each moment write its name and the exit code into the log; some do something else first."""
    options = []
    for moment in MOMENTS:
        line = f'echo "$LIMPET_HOOK${{LIMPET_EXIT_CODE:+ $LIMPET_EXIT_CODE}}" >> {shlex.quote(str(log))}'
        if moment in instead:
            line += f"; {instead[moment]}"
        options += ["-o", f"shell.{moment}={line}"]
    return options


def test_a_good_run(desk: Desk, tmp_path: Path) -> None:
    """Each moment, once, in its order, with the lines and figures of the run at the end."""
    log, document = tmp_path / "log", tmp_path / "document"
    options = telling(log, **{"finally": f"cat > {shlex.quote(str(document))}"})
    done = desk.limpet("backup", *options, desk.work)
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines() == [
        "before",
        "source_before",
        "source_after",
        "source_finally",
        "after 0",
        "finally 0",
    ]
    told = json.loads(document.read_text())
    assert told["run"]["command"] == "backup"
    assert told["result"]["figures"]["total_files_processed"] == 1
    assert told["result"]["repository_id"]
    assert told["result"]["duration_s"] > 0
    assert any(line.startswith("snapshot ") for line in told["result"]["log"])
    assert PASSWORD not in document.read_text()


def test_the_log_is_told_where_nothing_is_shown(desk: Desk, tmp_path: Path) -> None:
    """Who runs it from cron with --quiet or --json wants the monitor to have the lines all the same."""
    for flag in ("--quiet", "--json"):
        document = tmp_path / flag
        done = desk.limpet("backup", flag, "-o", f"shell.finally=cat > {shlex.quote(str(document))}", desk.work)
        assert done.returncode == 0, done.stderr
        assert any(line.startswith("snapshot ") for line in json.loads(document.read_text())["result"]["log"])


def test_what_a_command_prints_is_not_told(desk: Desk, tmp_path: Path) -> None:
    """Results may be the key itself: they must not go out to a monitor."""
    document = tmp_path / "document"
    done = desk.limpet("cat", "masterkey", "-o", f"shell.finally=cat > {shlex.quote(str(document))}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["encrypt"] not in document.read_text()


def test_a_run_with_unreadable_files(desk: Desk, tmp_path: Path) -> None:
    """Exit code 3 is a snapshot with something missing: the errors are counted and told."""
    document = tmp_path / "document"
    done = desk.limpet(
        "backup", "-o", f"shell.after=cat > {shlex.quote(str(document))}", desk.work, tmp_path / "not there"
    )
    assert done.returncode == 3, done.stderr
    result = json.loads(document.read_text())["result"]
    assert result["exit_code"] == 3
    assert result["warnings"] >= 1
    assert any("not there" in line for line in result["log"])


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_failed_run(desk: Desk, tmp_path: Path, flags: list[str]) -> None:
    """A wrong password, say: what was stopped before is started again, and the user is told."""
    log = tmp_path / "log"
    done = desk.limpet("backup", *flags, *telling(log), desk.work, LIMPET_PASSWORD="wrong")
    assert done.returncode == 12
    assert log.read_text().splitlines() == ["before", "failed 12", "finally 12"]


def test_before_fails(desk: Desk, tmp_path: Path) -> None:
    """Nothing is saved, and the exit code says so."""
    log, snapshots = tmp_path / "log", desk.snapshots()
    done = desk.limpet("backup", *telling(log, before="exit 7"), desk.work)
    assert done.returncode == 1
    assert done.stderr == "Fatal: hook shell failed at run started: the command of shell.before exited with code 7\n"
    assert log.read_text().splitlines() == ["before", "failed 1", "finally 1"]
    assert desk.snapshots() == snapshots


@pytest.mark.parametrize("moment", ["source_after", "after", "finally"])
def test_failure_at_the_end(desk: Desk, tmp_path: Path, moment: str) -> None:
    """The snapshot is there, but not all is well: the exit code and the moments that follow have to know."""
    log = tmp_path / "log"
    done = desk.limpet("backup", *telling(log, **{moment: "exit 7"}), desk.work)
    assert done.returncode == 1
    assert f"shell.{moment} exited with code 7" in done.stderr
    assert log.read_text().splitlines()[-1] == ("finally 0" if moment == "finally" else "finally 1")


def test_failure_only_warns(desk: Desk, tmp_path: Path) -> None:
    """Where the user said so the exit code stays 0, and the line is seen."""
    log = tmp_path / "log"
    done = desk.limpet("backup", *telling(log, before="exit 7"), "-o", "shell.on_error=warn", desk.work)
    assert done.returncode == 0
    assert done.stderr == "hook shell failed at run started: the command of shell.before exited with code 7\n"
    assert log.read_text().splitlines()[-1] == "finally 0"


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("before", signal.SIGINT),
        ("source_before", signal.SIGTERM),
        ("source_after", signal.SIGTERM),
        ("after", signal.SIGINT),
        ("finally", signal.SIGTERM),
    ],
)
def test_interrupted(desk: Desk, tmp_path: Path, moment: str, number: signal.Signals) -> None:
    """Whoever ends a run in the middle of a hook's command still gets the clean-up, and nothing is left running."""
    log, pid = tmp_path / "log", tmp_path / "pid"
    sleeps = f"echo $$ > {shlex.quote(str(pid))}.new; mv {shlex.quote(str(pid))}.new {shlex.quote(str(pid))}; sleep 99"
    process = desk.start("backup", *telling(log, **{moment: sleeps}), desk.work)
    wait_for(pid.exists, f"the start of {moment}")
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    lines = log.read_text().splitlines()
    assert lines[-1] == ("finally 0" if moment == "finally" else "finally 130")
    assert ("source_finally" in lines) == (moment != "before")


def test_interrupted_in_the_backup(desk: Desk, tmp_path: Path) -> None:
    """The usual case: SIGTERM at shutdown, while data is read."""
    log, pipe = tmp_path / "log", tmp_path / "begun"
    line = f"touch {shlex.quote(str(pipe))}; sleep 99"
    process = desk.start("backup", *telling(log), "--stdin-from-command", "--", "sh", "-c", line)
    wait_for(pipe.exists, "the start of the backup")
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert log.read_text().splitlines() == [
        "before",
        "source_before",
        "source_failed",
        "source_finally",
        "failed 130",
        "finally 130",
    ]


def test_figures_of_other_commands(desk: Desk, tmp_path: Path) -> None:
    """A night has more than the backup: what was removed, checked or restored is of interest, too."""
    document = tmp_path / "document"
    option = ["-o", f"shell.finally=cat > {shlex.quote(str(document))}"]
    commands: dict[tuple[str, ...], dict[str, int | None]] = {
        ("backup", str(desk.work)): {"files_new": 0},
        ("restore", "latest", "--target", str(tmp_path / "out"), "--json"): {"bytes_restored": 12},
        ("forget", "latest"): {"snapshots_removed": 1},
        ("prune",): {"packs_removed": None, "bytes_removed": None, "bytes_remaining": None},
        ("check",): {"num_errors": 0},
    }
    for command, expected in commands.items():
        done = desk.limpet(*command, *option)
        assert done.returncode == 0, done.stderr
        figures = json.loads(document.read_text())["result"]["figures"]
        assert {name: value if value is None else figures[name] for name, value in expected.items()} == expected
        assert set(expected) <= set(figures)


def test_what_check_finds_is_told(tmp_path: Path) -> None:
    """Damage is what a monitor is there for: the lines about it have to be among those it gets."""
    desk = made_desk(tmp_path)
    assert desk.limpet("backup", desk.work).returncode == 0
    pack = next(path for path in (desk.repository / "data").rglob("*") if path.is_file())
    pack.chmod(0o600)
    pack.write_bytes(bytes(pack.stat().st_size))
    for flags in ([], ["--json"]):
        document = tmp_path / "document"
        done = desk.limpet("check", "--read-data", *flags, "-o", f"shell.failed=cat > {shlex.quote(str(document))}")
        assert done.returncode == 1
        result = json.loads(document.read_text())["result"]
        assert result["figures"]["num_errors"] >= 1
        assert any(pack.name in line and not line.startswith("{") for line in result["log"])

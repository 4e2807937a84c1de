"""Standard input and commands as whole backups, beside restic, and when things go wrong half-way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from limpet.testing.restic import Restic
from limpet.testing.site import Site

PASSWORD = {"LIMPET_PASSWORD": "secret"}

FAILING_BACKEND = """
    from limpet_backend_local import LocalBackend
    from limpet.contracts.backend import FileKind
    from limpet.errors import BackendError

    class Failing(LocalBackend):
        contract_version = 1

        def save(self, handle, content):
            if handle.kind is FileKind.PACK:
                raise BackendError("the disk is on fire", permanent=True)
            super().save(handle, content)
    """


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A backend that takes no data, and a folder for repositories."""
    folder, home = tmp_path / "site", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    site = Site(folder, home)
    site.install("failing", {"limpet.backends": {"failing": "failing:Failing"}}, {"failing": FAILING_BACKEND})
    limpet(site, "init")
    return site


def limpet(site: Site, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command on the repository; the test fails if it does not end as expected."""
    done = site.limpet("--no-cache", "-r", str(site.home / "repository"), *arguments, **PASSWORD)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done


def snapshots(site: Site) -> Sequence[dict[str, object]]:
    """What the repository holds."""
    found: list[dict[str, object]] = json.loads(limpet(site, "snapshots", "--json").stdout)
    return found


def alive(pid: int) -> bool:
    """Whether the process still runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int) -> None:
    """The test fails if the process is still there after a while."""
    deadline = time.monotonic() + 60
    while alive(pid):
        assert time.monotonic() < deadline, "the command still runs"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("argv", "exit_code", "paths"),
    [
        (["true"], 3, ["/stdin"]),
        (["sh", "-c", "echo half; exit 3"], 1, None),
        (["sh", "-c", "echo half; kill -9 $$"], 1, None),
        (["no-such-command"], 1, None),
        (["echo", "all"], 0, ["/stdin"]),
    ],
)
@pytest.mark.interop
def test_same_as_restic(
    site: Site, restic_new: Restic, argv: list[str], exit_code: int, paths: list[str] | None
) -> None:
    """Scripts around dumps decide by the exit code whether to sound the alarm."""
    limpet(site, "backup", "--stdin-from-command", "--", *argv, exit_code=exit_code)
    ours = [snapshot["paths"] for snapshot in snapshots(site)]
    theirs = restic_new.run(
        "backup",
        "--stdin-from-command",
        "--",
        *argv,
        repo=site.home / "repository",
        password=PASSWORD["LIMPET_PASSWORD"],
        check=False,
    )
    assert theirs.returncode == exit_code
    assert ours == ([paths] if paths else [])
    assert [snapshot["paths"] for snapshot in snapshots(site)] == ours * 2


def test_round_trip(site: Site) -> None:
    """What the command wrote is what comes back, to the byte."""
    script = "head -c 30000000 /dev/zero; seq 1 300000"
    limpet(site, "backup", "--stdin-filename", "db/dump.sql", "--stdin-from-command", "--", "sh", "-c", script)
    expected = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
    limpet(site, "restore", "latest", "--target", str(site.home / "out"))
    assert (site.home / "out/db/dump.sql").read_bytes() == expected


def test_several_streams_and_files(site: Site) -> None:
    """The files of a service and the dump of its database belong into one snapshot."""
    (site.home / "file").write_text("from the disk")
    limpet(site, "backup", "command:dump/a.txt=echo one", "command:dump/b.txt=echo two", str(site.home / "file"))
    limpet(site, "restore", "latest", "--target", str(site.home / "out"))
    assert (site.home / "out/dump/a.txt").read_text() == "one\n"
    assert (site.home / "out/dump/b.txt").read_text() == "two\n"
    assert (site.home / "out" / (site.home / "file").relative_to("/")).read_text() == "from the disk"
    limpet(site, "backup", "command:a=echo one", "command:b=false", str(site.home / "file"), exit_code=1)
    assert len(snapshots(site)) == 1


def test_a_failing_upload_ends_the_command(site: Site) -> None:
    """restic 5683: the dump waited for ever on a pipe that nobody read any more, and so did the backup."""
    limpet(site, "init", exit_code=1)
    pid_file = site.home / "pid"
    script = f"echo $$ > {pid_file}; exec cat /dev/urandom"
    done = site.limpet(
        "--no-cache",
        "-r",
        f"failing:{site.home / 'repository'}",
        "backup",
        "--stdin-from-command",
        "--",
        "sh",
        "-c",
        script,
        **PASSWORD,
    )
    assert done.returncode == 1
    assert "the disk is on fire" in done.stderr
    wait_until_gone(int(pid_file.read_text()))
    assert snapshots(site) == []


@pytest.mark.parametrize("script", ["exec cat /dev/zero", "echo x; exec sleep 600"])
def test_interrupting_ends_the_command(site: Site, script: str) -> None:
    """Ctrl-C ends the backup in a moment, with exit code 130, no lock, no snapshot and no child left behind."""
    pid_file = site.home / "pid"
    program = "import sys; from limpet.cli.main import main; sys.exit(main())"
    argv = ["--no-cache", "-r", str(site.home / "repository"), "backup", "--stdin-from-command", "--", "sh", "-c"]
    backup = subprocess.Popen(
        [sys.executable, "-c", program, *argv, f"echo $$ > {pid_file}; {script}"],
        env={**os.environ, **PASSWORD, "HOME": str(site.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    backup.send_signal(signal.SIGINT)
    output, _ = backup.communicate(timeout=60)
    assert backup.returncode == 130, output
    wait_until_gone(int(pid_file.read_text()))
    assert snapshots(site) == []
    assert limpet(site, "list", "locks").stdout.strip() == ""


def test_hooks_around_a_backup(site: Site) -> None:
    """Stop the service, back up, start it: in this order, and the start whatever happened."""
    log = site.home / "log"
    hooks = [f"-oshell.{moment}=echo {moment} $LIMPET_EXIT_CODE >> {log}" for moment in ("before", "after", "failed")]
    (site.home / "file").write_text("x")
    limpet(site, *hooks, "backup", str(site.home / "file"))
    limpet(site, *hooks, "backup", str(site.home / "file"), "command:empty=true", exit_code=3)
    limpet(site, *hooks, "backup", "command:broken=false", exit_code=1)
    assert log.read_text().splitlines() == ["before", "after 0", "before", "after 3", "before", "failed 1"]
    before = len(snapshots(site))
    limpet(site, "-o", "shell.before=exit 1", "backup", str(site.home / "file"), exit_code=1)
    assert len(snapshots(site)) == before
    warned = limpet(site, "-o", "shell.before=exit 1", "-o", "shell.on_error=warn", "backup", str(site.home / "file"))
    assert "hook shell failed at run started" in warned.stderr
    assert len(snapshots(site)) == before + 1

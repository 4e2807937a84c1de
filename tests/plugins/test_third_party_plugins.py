"""Plugins of strangers, end to end: the examples, installed and used by name as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from limpet.testing.site import Site

EXAMPLES = Path(__file__).parents[2] / "examples"
PASSWORD = {"LIMPET_PASSWORD": "secret"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """All examples, installed."""
    folder, home = tmp_path / "site", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    site = Site(folder, home)
    for project in sorted(EXAMPLES.iterdir()):
        if project.is_dir():
            site.install_project(project)
    return site


def limpet(site: Site, *arguments: str, exit_code: int = 0) -> str:
    """What the command prints; the test fails if it does not end as expected."""
    repository = f"onefile:{site.home / 'repository.sqlite'}"
    done = site.limpet("-r", repository, *arguments, **PASSWORD)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done.stdout


def test_all_are_listed(site: Site) -> None:
    """A stranger's plugin is as good as ours, from the list on."""
    found = json.loads(limpet(site, "plugin", "list", "--json"))
    for kind, name in [("backend", "onefile"), ("source", "zip"), ("hook", "statusfile"), ("command", "age")]:
        [plugin] = [plugin for plugin in found if (plugin["kind"], plugin["name"]) == (kind, name)]
        assert plugin["error"] is None
        assert plugin["version"] == "1.2"


def test_backend_source_hook_and_command_together(site: Site) -> None:
    """From a stranger's source through a stranger's backend and back again, watched by a stranger's hook."""
    archive = site.home / "site.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("index.html", "<h1>hello</h1>")
        made.writestr("deep/er/data.bin", bytes(range(256)) * 20_000)
    plain = site.home / "plain"
    plain.mkdir()
    (plain / "file").write_text("plain")
    limpet(site, "init")
    status = site.home / "status.json"
    hook = ["-o", f"statusfile.path={status}", "-o", "statusfile.tag=nightly"]
    limpet(site, *hook, "backup", f"zip:{archive}", str(plain))
    assert json.loads(status.read_text())["exit_code"] == 0
    limpet(site, "check", "--read-data")
    [snapshot] = json.loads(limpet(site, "snapshots", "--json"))
    assert snapshot["tags"] == ["nightly"]
    assert set(snapshot["paths"]) == {str(archive), str(plain)}
    target = site.home / "restored"
    limpet(site, "restore", "latest", "--target", str(target))
    restored = target / archive.relative_to("/")
    assert (restored / "index.html").read_text() == "<h1>hello</h1>"
    assert (restored / "deep/er/data.bin").read_bytes() == bytes(range(256)) * 20_000
    assert (target / plain.relative_to("/") / "file").read_text() == "plain"
    assert "0.0 hours" in limpet(site, "age", "--max", "1h")
    limpet(site, "backup", "--time", "2001-01-01 00:00:00", f"zip:{site.home / 'missing.zip'}", exit_code=1)
    assert len(json.loads(limpet(site, "snapshots", "--json"))) == 1


def test_a_failed_run_is_told(site: Site) -> None:
    """The watcher has to see the failure, not the success of the day before."""
    status = site.home / "status.json"
    limpet(site, "init")
    limpet(site, "-o", f"statusfile.path={status}", "backup", str(site.home / "nothing here"), exit_code=1)
    told = json.loads(status.read_text())
    assert told["exit_code"] == 1
    assert told["error"]


def test_incomplete_is_told(site: Site) -> None:
    """Exit code 3 is a success with a hole in it: the watcher must be able to see the hole."""
    status = site.home / "status.json"
    limpet(site, "init")
    there = site.home / "there"
    there.write_text("x")
    arguments = ["backup", str(there), "command:empty=true"]
    limpet(site, "-o", f"statusfile.path={status}", *arguments, exit_code=3)
    assert json.loads(status.read_text())["exit_code"] == 3


@pytest.mark.parametrize("project", ["backend_onefile", "source_zip", "hook_statusfile", "command_age"])
def test_each_example_passes_its_own_tests(site: Site, project: str) -> None:
    """The examples are what strangers start from: an example that fails teaches its mistake."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_"))}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            os.devnull,
            EXAMPLES / project / "tests",
        ],
        env={**environment, "PYTHONPATH": str(site.folder), "HOME": str(site.home)},
        cwd=site.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout

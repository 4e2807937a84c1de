"""Hooks that hand out frozen copies, through a whole backup: parent, excludes, restores, messages."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from limpet.testing.restic import Restic
from limpet.testing.site import Site

PASSWORD = {"LIMPET_PASSWORD": "secret"}

COPYING_HOOK = """
    import os, shutil, subprocess, tempfile
    from limpet.contracts.hooks import Hook, hookimpl

    class Copying(Hook):
        "Copies what is to be read, changes the original, and removes the copy afterwards."
        contract_version = 1

        def tell(self, *words):
            with open(os.path.expanduser("~/told"), "a") as file:
                print(*words, file=file)

        @hookimpl
        def limpet_path_excluded(self, path):
            if path.endswith(b"/vanishing"):
                os.unlink(self.place + "/vanishing")

        @hookimpl
        def limpet_source_prepare(self, path, scheme):
            self.tell("prepare", scheme, path)
            if os.environ.get("NOT_FOR") == scheme:
                return None
            self.place = tempfile.mkdtemp(prefix="limpet-copying-", dir="/dev/shm")
            if scheme == "path":
                subprocess.run(["cp", "-aT", path, self.place], check=True)
                with open(path + "/growing", "a") as file:
                    file.write("later")
            return self.place

        @hookimpl
        def limpet_source_release(self, path, scheme, error):
            self.tell("release", scheme, path, error)
            shutil.rmtree(getattr(self, "place", "nowhere"), ignore_errors=True)
    """


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A repository, a folder to back up, and the hook."""
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system to write to")
    folder, home = tmp_path / "site", tmp_path / "home"
    folder.mkdir()
    (home / "data/inner").mkdir(parents=True)
    site = Site(folder, home)
    site.install("copying", {"limpet.hooks": {"copying": "copying:Copying"}}, {"copying": COPYING_HOOK})
    (home / "data/growing").write_text("now")
    (home / "data/inner/one").write_text("linked" * 10)
    os.link(home / "data/inner/one", home / "data/inner/two")
    (home / "data/skip.log").write_text("x")
    limpet(site, "init")
    before = set(Path("/dev/shm").glob("limpet-copying-*"))
    yield site
    assert set(Path("/dev/shm").glob("limpet-copying-*")) == before


def limpet(site: Site, *arguments: str | Path, exit_code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the repository; the test fails if it does not end as expected."""
    done = site.limpet("--no-cache", "-r", str(site.home / "repository"), *map(str, arguments), **PASSWORD, **more)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done


def told(site: Site) -> list[str]:
    """What the hook was told."""
    return (site.home / "told").read_text().splitlines()


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last JSON document of a backup."""
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_backup_of_a_copy(site: Site, restic_new: Restic) -> None:
    """The snapshot has to be that of the place that was asked for, or nothing that follows from the path works."""
    data = site.home / "data"
    exclude = f"{data}/*.log"
    limpet(site, "--hook", "copying", "backup", "--exclude", exclude, data)
    assert told(site) == [f"prepare path {data}", f"release path {data} None"]
    repository = site.home / "repository"
    (snapshot,) = restic_new.json("snapshots", repo=repository, password="secret")
    assert snapshot["paths"] == [str(data)]
    restored = site.home / "restored"
    restic_new.run("restore", "latest", "--target", restored, repo=repository, password="secret")
    place = restored / data.relative_to("/")
    assert (place / "growing").read_text() == "now"
    assert not (place / "skip.log").exists()
    assert (place / "inner/one").samefile(place / "inner/two")
    assert (data / "growing").read_text() == "nowlater"
    restic_new.run("check", "--read-data", repo=repository, password="secret")


def test_the_next_backup_finds_its_parent(site: Site, restic_new: Restic) -> None:
    """Another place and another device in each run: unchanged files, hard links among them, must not look new."""
    data = site.home / "data"
    limpet(site, "--hook", "copying", "backup", data)
    # The copies of this hook have inodes and times of change of their own; snapshots of a file system keep them.
    again = limpet(site, "--hook", "copying", "--json", "backup", "--ignore-inode", "--ignore-ctime", data)
    assert summary(again)["files_unmodified"] == 3
    assert summary(again)["files_changed"] == 1
    repository = site.home / "repository"
    devices = set()
    for snapshot in restic_new.json("snapshots", repo=repository, password="secret"):
        tree = f"{snapshot['id']}:{data}/inner"
        nodes = restic_new.json("cat", "tree", tree, repo=repository, password="secret")["nodes"]
        devices |= {node["device_id"] for node in nodes}
    assert devices == {data.stat().st_dev}


def test_what_cannot_be_read_is_told_by_its_own_place(site: Site) -> None:
    """The copy is gone when the message is read."""
    data = site.home / "data"
    (data / "vanishing").write_text("x")
    done = limpet(site, "--hook", "copying", "backup", data, exit_code=3)
    assert f"{data}/vanishing: No such file or directory" in done.stderr
    assert "/dev/shm" not in done.stderr


@pytest.mark.parametrize("arguments", [["--stdin", "--stdin-filename", "dump"], ["command:dump=echo x"]])
def test_a_source_that_cannot_be_frozen(site: Site, arguments: list[str]) -> None:
    """A hook that freezes what is then read live would be believed."""
    done = limpet(site, "--hook", "copying", "backup", *arguments, exit_code=1)
    assert "a hook wants /dev/shm/limpet-copying-" in done.stderr
    assert "such a source cannot do that" in done.stderr
    assert json.loads(limpet(site, "snapshots", "--json").stdout) == []
    prepared, released = told(site)
    assert prepared in {"prepare stdin dump", "prepare command dump=echo x"}
    assert released.startswith(prepared.replace("prepare", "release") + " a hook wants")


def test_a_stream_is_told_of(site: Site) -> None:
    """A command that stops a service around its dump needs to know of the dump."""
    command = ["backup", "--stdin-from-command", "--", "echo", "x"]
    limpet(site, "--hook", "copying", *command, NOT_FOR="command")
    assert told(site) == ["prepare command stdin", "release command stdin None"]

"""Disks that answer with EIO: what cannot be read or written is named, and the rest is safe."""

from __future__ import annotations

from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.safety.files import digests
from tests.safety.scene import Scene
from tests.safety.strace import ONE_CONNECTION, injected, injections

SMALL_PACKS = ("--pack-size", "4")


@pytest.mark.parametrize("name", ["large-3", "folder-3/file-3"])
def test_source_file_with_a_bad_sector(scene: Scene, restic_new: Restic, name: str) -> None:
    """One bad sector must cost one file: the run says which, saves the rest, and does not end with success."""
    bad, log = scene.source / name, scene.site.folder / "strace"
    backup = scene.site.start("backup", scene.source, prefix=injected("read", "error=EIO", log=log, only=bad))
    ended = backup.end()
    assert injections(log), "nothing was injected"
    assert ended.code == 3, ended.err
    assert f"{bad}: Input/output error" in ended.err
    assert "at least one source file could not be read" in ended.last_line
    target = scene.site.folder / "target"
    scene.site.run("restore", f"latest:{scene.source}", "--target", target)
    assert digests(target) == {path: digest for path, digest in digests(scene.source).items() if path != name}
    scene.judge(restic_new, snapshots=2)


def test_source_folder_that_cannot_be_listed(scene: Scene, restic_new: Restic) -> None:
    """A damaged folder must cost what is in it, not the backup, and must not pass for empty."""
    bad, log = scene.source / "folder-4", scene.site.folder / "strace"
    backup = scene.site.start("backup", scene.source, prefix=injected("list", "error=EIO", log=log, only=bad))
    ended = backup.end()
    assert injections(log), "nothing was injected"
    assert ended.code == 3, ended.err
    assert str(bad) in ended.err
    assert "Input/output error" in ended.err
    listed = scene.site.run("ls", "latest").out
    assert str(scene.source / "folder-5") in listed
    assert str(bad / "file-4") not in listed
    scene.judge(restic_new, snapshots=2)


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_write_that_fails_once_is_repeated(scene: Scene, restic_new: Restic, call: str) -> None:
    """A moment's failure of the storage must neither end a backup nor go unmentioned."""
    log = scene.site.folder / "strace"
    # A thread's third: of the one that saves packs, for the lock's thread ends after fewer.
    prefix = injected(call, "error=EIO:when=3", log=log)
    ended = scene.site.run(*SMALL_PACKS, *ONE_CONNECTION, "--no-cache", "backup", scene.source, prefix=prefix)
    assert injections(log), "nothing was injected"
    assert "Input/output error" in ended.err
    assert "trying again" in ended.err
    assert not scene.site.temporary_files()
    scene.judge(restic_new, snapshots=2)


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_storage_that_fails_on_and_on(scene: Scene, restic_new: Restic, call: str) -> None:
    """While a dying disk is tried again the user is told why nothing moves, and Ctrl-C ends it at once."""
    log = scene.site.folder / "strace"
    prefix = injected(call, "error=EIO:when=3+", log=log)
    backup = scene.site.start(*SMALL_PACKS, *ONE_CONNECTION, "--no-cache", "backup", scene.source, prefix=prefix)
    backup.wait_until(lambda: injections(log) > 1, "the storage fails")
    backup.interrupt_traced()
    ended = backup.end(limit_s=60)
    assert ended.code == 130, ended.err
    assert f"{scene.site.repository}/data/" in ended.err
    assert "Input/output error" in ended.err
    assert "trying again" in ended.err
    assert "Traceback" not in ended.err
    backup.assert_none_survives()
    assert not scene.site.temporary_files()
    scene.judge(restic_new)


@pytest.mark.parametrize("command", ["check", "restore", "backup"])
def test_repository_file_with_a_bad_sector(scene: Scene, restic_new: Restic, command: str) -> None:
    """A bad sector under the repository must be named by every command that meets it, without minutes of waiting."""
    site, log = scene.site, scene.site.folder / "strace"
    kind = "index" if command == "backup" else "data"
    bad = max((site.repository / kind).rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else -1)
    arguments: dict[str, tuple[str | Path, ...]] = {
        "check": ("check", "--read-data"),
        "restore": ("restore", "latest", "--target", site.folder / "target"),
        "backup": ("backup", scene.source),
    }
    fault = injected("read", "error=EIO", log=log, only=bad)
    ended = site.start("--no-cache", *arguments[command], prefix=fault).end()
    assert injections(log), "nothing was injected"
    # A backup that cannot read its parent reads every file, and still does not end with success: as restic's.
    assert ended.code == (3 if command == "backup" else 1), ended.err
    assert bad.name in ended.err
    assert "Input/output error" in ended.err
    assert "Traceback" not in ended.err
    scene.judge(restic_new, snapshots=2 if command == "backup" else 1)


@pytest.mark.parametrize("name", ["large-0", "folder-3/file-3"])
def test_restore_to_a_bad_sector(scene: Scene, name: str) -> None:
    """What cannot be written must be named, and must not keep the rest from being restored."""
    site, log, target = scene.site, scene.site.folder / "strace", scene.site.folder / "target"
    (snapshot,) = site.files("snapshots")
    (target / name).parent.mkdir(parents=True)
    (target / name).touch()  # strace wants to know the path
    fault = injected("write", "error=EIO", log=log, only=target / name)
    ended = site.start("restore", f"{snapshot}:{scene.source}", "--target", target, prefix=fault).end()
    assert injections(log), "nothing was injected"
    assert ended.code == 1, ended.err
    assert any(name in line and "Input/output error" in line for line in ended.err.splitlines()), ended.err
    assert "Traceback" not in ended.err
    restored = digests(target)
    assert {path: digest for path, digest in scene.before.items() if path != name} == {
        path: digest for path, digest in restored.items() if path != name
    }
    site.run("restore", f"{snapshot}:{scene.source}", "--target", target)
    assert digests(target) == scene.before

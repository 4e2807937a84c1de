"""Who may look into a mount: the one who mounted it; with `--allow-other` others, as the permissions of a file say."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mount.mounting import JUDGED, Mounts
from tests.services.process import program, unavailable
from tests.trees import IS_ROOT

OTHER = pwd.getpwnam("nobody").pw_uid
"""A user who owns some of the files; fusermount3 wants one that has a name."""
STRANGER = 5678


@dataclass(frozen=True, slots=True)
class Backed:
    """What was backed up, and the repository with it."""

    source: Path
    mounts: Mounts

    def folder(self, point: Path) -> Path:
        """The same in a mount."""
        return point / "snapshots" / "latest" / str(self.source).lstrip("/")


@pytest.fixture(scope="module")
def backed(shared_mounts: Mounts, tmp_path_factory: pytest.TempPathFactory) -> Backed:
    """Files of two users, some of them private; every user may come to the mount's folder."""
    if not IS_ROOT:
        unavailable("files of other users are made by root")
    base = tmp_path_factory.mktemp("users")
    source = base / "source"
    source.mkdir(mode=0o755)
    for name, owner, mode in (("public", 0, 0o644), ("private", OTHER, 0o600), ("of root", 0, 0o600)):
        (source / name).write_text(name)
        os.chown(source / name, owner, owner)
        os.chmod(source / name, mode)
    for folder in (*shared_mounts.site.folder.parents, *base.parents, shared_mounts.site.folder, base):
        folder.chmod(folder.stat().st_mode | 0o111)
    shared_mounts.site.run("backup", source)
    return Backed(source, shared_mounts)


def read_as(user: int, path: Path) -> str:
    """What the user reads there; the system's words where he may not."""
    command = [str(program("setpriv")), f"--reuid={user}", f"--regid={user}", "--clear-groups", "cat", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    said: str = done.stdout if done.returncode == 0 else done.stderr.rpartition(": ")[2].strip()
    return said


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), ["Permission denied"] * 3),
        (("--allow-other",), ["public", "private", "Permission denied"]),
        (("--allow-other", "--no-default-permissions"), ["public", "private", "of root"]),
        (("--allow-other", "--owner-root"), ["public", "Permission denied", "Permission denied"]),
    ],
)
def test_another_user(backed: Backed, flags: Sequence[str], expected: Sequence[str]) -> None:
    """Others see nothing; with `--allow-other` each sees what the owner of a file lets him, or all if told so."""
    with backed.mounts.mounted(*flags) as point:
        folder = backed.folder(point)
        assert [read_as(OTHER, folder / name) for name in ("public", "private", "of root")] == expected
        assert (folder / "private").read_text() == "private"


def test_a_stranger(backed: Backed) -> None:
    """`--allow-other` is not `--allow-everything`: a private file is its owner's."""
    with backed.mounts.mounted("--allow-other") as point:
        assert read_as(STRANGER, backed.folder(point) / "private") == "Permission denied"
        assert read_as(STRANGER, backed.folder(point) / "public") == "public"


@pytest.mark.parametrize("flags", [(), ("--owner-root",)])
def test_owners(backed: Backed, flags: Sequence[str]) -> None:
    """Files belong to whom they belonged, or all of them to root."""
    with backed.mounts.mounted(*flags) as point:
        status = (backed.folder(point) / "private").lstat()
        assert (status.st_uid, status.st_gid) == ((0, 0) if flags else (OTHER, OTHER))
        assert os.lstat(point / "ids").st_uid == 0


@pytest.fixture
def own(backed: Backed, tmp_path: Path) -> Iterator[Path]:
    """A folder of the other user's."""
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o111)
    place = tmp_path / "home"
    place.mkdir()
    os.chown(place, OTHER, OTHER)
    yield place
    assert backed.source.exists()


def test_mounted_by_an_ordinary_user(backed: Backed, own: Path) -> None:
    """Who is not root mounts, too (with fusermount3), and sees all files of his backup as his own user does."""
    program("fusermount3")
    repository = own / "repository"
    subprocess.run(["cp", "-r", backed.mounts.site.repository, repository], check=True)
    subprocess.run(["chown", "-R", f"{OTHER}:{OTHER}", own], check=True)
    os.chmod("/dev/fuse", 0o666)
    point = own / "point"
    point.mkdir()
    os.chown(point, OTHER, OTHER)
    prefix = [str(program("setpriv")), f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"]
    # This Python may be root's own, which others cannot read.
    prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "env", f"HOME={own}"]
    prefix += [f"{name}={repository}" for name in ("LIMPET_REPOSITORY", "RESTIC_REPOSITORY")]
    mount = backed.mounts.start_at(point, "--no-cache", prefix=prefix)
    assert read_as(OTHER, backed.folder(point) / "private") == "private"
    assert read_as(OTHER, backed.folder(point) / "public") == "public"
    with pytest.raises(PermissionError):
        os.listdir(point)  # root is another user than the one who mounted it
    ended = mount.end()
    assert ended.code == 0 or JUDGED, ended.err

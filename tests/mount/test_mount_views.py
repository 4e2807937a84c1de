"""The folders of a mount are restic's: the two mount the same repository side by side, and all is compared."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.mount.mounting import JUDGED, Mounts, wait_for
from tests.safety.program import PASSWORD, Site

TIMES = (
    "2006-01-02_15-04-05",
    "2006/01/02/at 15:04",
    "Mon Jan _2 15:04:05.000 MST 2006",
    "Monday, 02-Jan-06 03:04PM -07:00 Z0700",
)
"""Templates in Go's way: the parts of one certain moment stand for those of any other."""


@pytest.fixture(scope="module")
def history(shared_mounts: Mounts, restic_new: Restic, tmp_path_factory: pytest.TempPathFactory) -> Mounts:
    """Snapshots of several hosts, users, tags, paths and zones, two of them of the same second."""
    source = tmp_path_factory.mktemp("views") / "source"
    (source / "docs" / "inner").mkdir(parents=True)
    (source / "docs" / "inner" / "letter").write_text("dear reader")
    (source / "docs" / "link").symlink_to("inner/letter")
    (source / "photos").mkdir()
    site = shared_mounts.site
    docs, photos = source / "docs", source / "photos"
    _backup(site, restic_new, "2024-01-01 10:00:00", "--host", "east", "--tag", "a,b", docs, zone="Europe/Berlin")
    _backup(site, restic_new, "2024-01-01 10:00:00", "--host", "east", "--tag", "a", docs, zone="Europe/Berlin")
    (docs / "new").write_text("new")
    _backup(site, restic_new, "2024-06-07 08:09:10", "--host", "west", "--tag", "a/b,..,.", docs, zone="Asia/Kolkata")
    _backup(site, restic_new, "2024-11-30 23:59:59", "--host", "west", photos, zone="America/New_York")
    _backup(site, restic_new, "2023-02-03 04:05:06", "--host", "ea/st", "--tag", "b", docs, photos, zone="UTC")
    return shared_mounts


def test_the_same_tree(history: Mounts, restic_new: Restic) -> None:
    """Scripts that look into a mount rely on where things are: every folder, link, time and owner is restic's."""
    with history.mounted() as ours, history.mounted(binary=restic_new.binary) as theirs:
        assert sorted(os.listdir(ours)) == ["hosts", "ids", "snapshots", "tags"]
        expected = shown(theirs)
        assert len(expected) > 100
        assert shown(ours) == expected


@pytest.mark.parametrize(
    "flags",
    [
        *(("--time-template", template) for template in TIMES),
        ("--path-template", "%h/%u/%t/%T", "--path-template", "flat %I"),
        ("--path-template", "per-second-%T/%i", "--path-template", "%h/100%%/%x/%T", "--path-template", "always here"),
        ("--path-template", "%h"),
        ("--host", "west"),
        ("--tag", "a,b", "--tag", "b"),
        ("--host", "east", "--tag", "nobody has this"),
    ],
)
def test_templates_and_filters(history: Mounts, restic_new: Restic, flags: tuple[str, ...]) -> None:
    """A view made by somebody's own template, or of some snapshots only, is where restic puts it."""
    with history.mounted(*flags) as ours, history.mounted(*flags, binary=restic_new.binary) as theirs:
        assert shown(ours) == shown(theirs)


def test_times_at_the_top(history: Mounts) -> None:
    """restic shows nothing but `latest` for the shortest template there is: here the snapshots are there, too."""
    with history.mounted("--path-template", "%T", "--time-template", "2006") as point:
        expected = ["2023", "2024", "2024-1", "2024-2", "2024-3", "latest"]
        assert sorted(os.listdir(point)) == (["latest"] if JUDGED else expected)
        assert os.readlink(point / "latest") == "2024-3"


def test_path_filter(history: Mounts, restic_new: Restic) -> None:
    """The filter that names a path of the source chooses what restic chooses."""
    listed = restic_new.json("snapshots", repo=history.site.repository, password=PASSWORD)
    photos = next(path for one in listed for path in one["paths"] if path.endswith("/photos"))
    with (
        history.mounted("--path", photos) as ours,
        history.mounted("--path", photos, binary=restic_new.binary) as theirs,
    ):
        assert len(os.listdir(ours / "ids")) == 2
        assert shown(ours) == shown(theirs)


def test_new_snapshots_appear(mounts: Mounts, restic_new: Restic, tmp_path: Path) -> None:
    """A mount that stays for weeks would show ever older backups: new ones appear, and `latest` follows."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("one")
    _backup(mounts.site, restic_new, "2024-01-01 10:00:00", source, zone="UTC")
    mount = mounts.start()
    latest = mount.point / "snapshots" / "latest"
    inside = str(source).lstrip("/")
    assert os.readlink(latest) == "2024-01-01T10:00:00Z"
    assert (latest / inside / "file").read_text() == "one"
    size_before = os.statvfs(mount.point).f_blocks
    (source / "file").write_text("two")
    (source / "noise").write_bytes(os.urandom(1 << 20))
    _backup(mounts.site, restic_new, "2024-02-02 10:00:00", source, zone="UTC")
    wait_for(mount, mount.point / "snapshots" / "2024-02-02T10:00:00Z", 150)
    if not JUDGED:
        assert os.statvfs(mount.point).f_blocks >= size_before + (1 << 20) // 4096
    assert os.readlink(latest) == "2024-02-02T10:00:00Z"
    assert (latest / inside / "file").read_text() == "two"
    assert (mount.point / "snapshots" / "2024-01-01T10:00:00Z" / inside / "file").read_text() == "one"
    assert mount.end().code == 0


@pytest.mark.skipif(bool(JUDGED), reason="restic shows when it was mounted")
def test_times_of_views_follow(mounts: Mounts, restic_new: Restic, tmp_path: Path) -> None:
    """Who sits in the folder sees by its time that something came, without looking its name up again."""
    source = tmp_path / "source"
    source.mkdir()
    _backup(mounts.site, restic_new, "2024-01-01 10:00:00", source, zone="UTC")
    mount = mounts.start()
    sitting = os.open(mount.point / "snapshots", os.O_RDONLY)
    try:
        before = os.fstat(sitting).st_mtime
        _backup(mounts.site, restic_new, "2024-01-02 10:00:00", source, zone="UTC")
        mount.running.wait_until(lambda: os.fstat(sitting).st_mtime == before + 86_400, "the time has followed", 150)
    finally:
        os.close(sitting)
    assert mount.end().code == 0


def test_names_in_another_locale(mounts: Mounts, restic_new: Restic, tmp_path: Path) -> None:
    """A tag that the locale has no letters for must not take all snapshots away: names are UTF-8, as restic's are."""
    source = tmp_path / "source"
    source.mkdir()
    _backup(mounts.site, restic_new, "2024-01-01 10:00:00", "--tag", "größer 大", source, zone="UTC")
    mounts.site.variables.update(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    with mounts.mounted() as point:
        assert os.listdir(os.fsencode(point / "tags")) == ["größer 大".encode()]


def test_forgotten_snapshots_go(mounts: Mounts, restic_new: Restic, tmp_path: Path) -> None:
    """A snapshot that is no more must not be shown as if it could be restored; the others stay usable meanwhile."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("one")
    for day in (1, 2):
        _backup(mounts.site, restic_new, f"2024-01-0{day} 10:00:00", source, zone="UTC")
    mount = mounts.start("--no-lock")
    assert len(os.listdir(mount.point / "ids")) == 2
    restic_new.run("forget", "--keep-last", "1", repo=mounts.site.repository, password=PASSWORD)
    kept = mount.point / "snapshots" / "2024-01-02T10:00:00Z" / str(source).lstrip("/") / "file"
    forgotten = mount.point / "snapshots" / "2024-01-01T10:00:00Z"
    mount.running.wait_until(lambda: not os.path.lexists(forgotten), "the forgotten snapshot is gone", 150)
    assert kept.read_text() == "one"
    assert mount.end().code == 0


def test_no_snapshot_at_all(mounts: Mounts, restic_new: Restic) -> None:
    """A new repository can be mounted, too: its first snapshot appears later."""
    with mounts.mounted() as ours, mounts.mounted(binary=restic_new.binary) as theirs:
        assert shown(ours) == shown(theirs)


@dataclass(frozen=True, slots=True)
class Shown:
    """A path of a mount. Folders above the snapshots have no size and time of their own: there they are left out."""

    mode: str
    owner: tuple[int, int]
    mtime_ns: int
    content: bytes
    """Of a file; where a link leads."""


def shown(point: Path) -> dict[str, Shown]:
    """All that is below the mount's folder."""
    found = {}
    for folder, folders, files in os.walk(point):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.fsencode(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
                assert len(content) == status.st_size
            is_view = stat.S_ISDIR(status.st_mode) and status.st_mode & 0o777 == 0o555
            found[os.path.relpath(path, point)] = Shown(
                stat.filemode(status.st_mode),
                (status.st_uid, status.st_gid),
                0 if is_view else status.st_mtime_ns,
                content,
            )
    return found


def _backup(site: Site, restic: Restic, when: str, *arguments: str | Path, zone: str) -> None:
    command = [restic.binary, "--no-cache", "backup", "-q", "--force", "--time", when, *arguments]
    subprocess.run(command, env={**site.environment(), "TZ": zone}, check=True, capture_output=True)


@pytest.fixture(autouse=True)
def _unmounted(shared_mounts: Mounts) -> Iterator[None]:
    """A test that fails leaves no mount to the next."""
    yield
    shared_mounts.close()

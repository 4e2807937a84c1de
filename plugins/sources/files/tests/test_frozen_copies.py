"""Targets that are read from a frozen copy: the snapshot shows the place that was asked for, as it was when frozen."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from limpet.contracts.source import Selection, SourceRequest
from limpet.progress import SilentReporter
from limpet.testing.source import all_entries, all_folders
from limpet_source_files import FilesSource


class Listener(SilentReporter):
    """Keeps what a source tells."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def error(self, error: Exception, *, during: str, item: str) -> None:
        self.told.append(f"{item}: {error}")

    def warning(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A folder with files, one of them twice by a hard link."""
    folder = tmp_path / "live"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner/file").write_text("then")
    (folder / "skip.log").write_text("then")
    (folder / "one").write_text("linked")
    os.link(folder / "one", folder / "inner/two")
    return folder


@pytest.fixture
def copy(tmp_path: Path, live: Path) -> Path:
    """A copy, as a snapshot of the file system would be; the original has changed since."""
    place = tmp_path / "snapshots/17"
    shutil.copytree(live, place, symlinks=True)
    (place / "inner/two").unlink()
    os.link(place / "one", place / "inner/two")
    (live / "inner/file").write_text("later and longer")
    (live / "new").write_text("later")
    shutil.rmtree(live / "inner")
    return place


def opened(
    targets: Sequence[str | Path],
    read_from: Mapping[str | Path, Path],
    selection: Selection | None = None,
    listener: Listener | None = None,
) -> FilesSource:
    """The source of a request."""
    places = {str(target): str(place) for target, place in read_from.items()}
    return FilesSource.open(
        SourceRequest(list(map(str, targets)), {}, selection or Selection(), listener, read_from=places)
    )


def content(source: FilesSource) -> dict[str, str]:
    """Each regular file by its path in the snapshot, with what is read there."""
    found = {}
    for folder in all_folders(source):
        for entry in folder.entries:
            real = entry.real_path(folder.open_path)
            if real is not None and os.path.isfile(real):
                found[os.fsdecode(os.path.join(folder.path, entry.name))] = Path(os.fsdecode(real)).read_text()
    return found


def test_shown_at_its_place_and_read_from_the_copy(live: Path, copy: Path) -> None:
    """With the copy's path in the snapshot there is no parent, no exclude that fits, and restores land elsewhere."""
    source = opened([live], {live: copy}, Selection(exclude=[f"{live}/*.log"]))
    assert source.snapshot_paths == [str(live)]
    assert [target.path for target in source.targets()] == [os.fsencode(live)]
    assert content(source) == {
        f"{live}/inner/file": "then",
        f"{live}/inner/two": "linked",
        f"{live}/one": "linked",
    }
    assert source.scan() == (3, len("then" + 2 * "linked"))


def test_relative_and_nameless_targets(live: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cd /srv; limpet backup .` is frozen as well as the absolute path."""
    monkeypatch.chdir(live)
    assert set(content(opened(["."], {".": copy}))) == {"/inner/file", "/inner/two", "/one", "/skip.log"}
    monkeypatch.chdir(live.parent)
    found = content(opened(["live/"], {"live/": copy}))
    assert found["/live/inner/file"] == "then"


def test_a_target_that_is_gone_since(live: Path, copy: Path) -> None:
    """It was there when the file system was frozen: that is what the snapshot is to show."""
    source = opened([live / "inner/file"], {live / "inner/file": copy / "inner/file"})
    (target,) = source.targets()
    assert target.entry.real_path(target.open_path) == os.fsencode(copy / "inner/file")
    assert source.error_count == 0


def test_one_inside_another(live: Path, copy: Path, tmp_path: Path) -> None:
    """A file system mounted inside is frozen on its own, or read where it is: it is not in the outer copy."""
    other = tmp_path / "snapshots/18"
    other.mkdir()
    (other / "file").write_text("of the other")
    (live / "alive").mkdir()
    (live / "alive/file").write_text("live")
    (copy / "alive").mkdir()
    source = opened([live, live / "inner", live / "alive"], {live: copy, live / "inner": other})
    found = content(source)
    assert found[f"{live}/inner/file"] == "of the other"
    assert found[f"{live}/alive/file"] == "live"
    assert f"{live}/new" not in found
    folder_above = source.folder_path(os.fsencode(live))
    assert folder_above == os.fsencode(copy)


@pytest.mark.usefixtures("copy")
def test_without_a_copy_nothing_changes(live: Path) -> None:
    """The table of copies must not lead astray where there is none."""
    assert content(opened([live], {}))[f"{live}/new"] == "later"


def test_what_cannot_be_read_is_told_by_its_own_place(live: Path, copy: Path) -> None:
    """The copy is gone when the message is read."""
    listener = Listener()
    source = opened([live], {live: copy}, listener=listener)
    source.targets()
    shutil.rmtree(copy)
    assert content(source) == {}
    assert listener.told == [f"{live}: {live}: No such file or directory"]
    assert source.shown_path(os.fsencode(copy / "inner/x")) == os.fsencode(live / "inner/x")
    assert source.shown_path(os.fsencode(copy)) == os.fsencode(live)
    assert source.shown_path(b"/elsewhere") == b"/elsewhere"


@pytest.fixture
def other_device(live: Path) -> Iterator[Path]:
    """A copy on another device, as every snapshot is."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == live.stat().st_dev:
        pytest.skip("no second file system to write to")
    place = memory / f"limpet-frozen-{os.getpid()}"
    subprocess.run(["cp", "-a", str(live), str(place)], check=True)
    yield place
    shutil.rmtree(place)


def test_hard_links_stay_what_they_were(live: Path, other_device: Path) -> None:
    """The device tells hard links apart: with another one in each run, all of them would look new (restic 3041)."""
    device = live.stat().st_dev
    source = opened([live], {live: other_device})
    devices = {entry.name: entry.stat.st_dev for _, entry in all_entries(source)}
    assert devices[b"one"] == devices[b"two"] == device
    assert source.devices == {other_device.stat().st_dev: device}
    single = opened([live / "one"], {live / "one": other_device / "one"})
    assert [target.entry.stat.st_dev for target in single.targets()] == [device]
    status = (other_device / "one").lstat()
    shown = single.targets()[0].entry.stat
    assert (shown.st_mtime_ns, shown.st_size, shown.st_ino) == (status.st_mtime_ns, status.st_size, status.st_ino)


def test_one_file_system_means_the_copys(live: Path, other_device: Path) -> None:
    """A copy is on another device than its original: compared with that, nothing at all would be left."""
    found = content(opened([live], {live: other_device}, Selection(one_file_system=True)))
    assert len(found) == 4

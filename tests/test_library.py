"""The public library as its users have it: every call, on a backend in memory and on a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import limpet
import pytest
from limpet.contracts.backend import Backend
from limpet.errors import LockedError, NoRepositoryError, RepositoryError, SourceError, UsageError, WrongPasswordError
from limpet.format.kdf import KdfParameters, new_salt
from limpet.storage.memory import MemoryBackend

from tests.trees import facts

PASSWORD = "of the library"
Place = str | Backend


@pytest.fixture(params=["memory", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where the repository is, in both ways of saying it."""
    if request.param == "folder":
        return str(tmp_path / "repository")
    return MemoryBackend()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder worth saving."""
    work = tmp_path / "work"
    (work / "sub").mkdir(parents=True)
    (work / "notes.txt").write_text("remember")
    (work / "sub" / "large").write_bytes(os.urandom(3_000_000))
    (work / "sub" / "junk.o").write_text("junk")
    return work


@pytest.fixture
def repository(place: Place) -> limpet.Repository:
    """A new one, that opens at once."""
    return limpet.create_repository(place, PASSWORD, kdf=KdfParameters(2, 1, 1, new_salt()))


def test_whole_life(place: Place, repository: limpet.Repository, work: Path, tmp_path: Path) -> None:
    """Create, back up, open, list, read, restore, check: a program that does it in a few lines relies on each."""
    with repository:
        first = limpet.backup(repository, [work], tags=["nightly"], host="library")
        assert (first.errors, first.counts.files_new) == (0, 3)

    with limpet.open_repository(place, PASSWORD) as again:
        (work / "notes.txt").write_text("remember this")
        second = limpet.backup(again, [work], host="library")
        assert (second.counts.files_changed, second.counts.files_unmodified) == (1, 2)
        stored = limpet.snapshots(again)
        assert [one.id for one in stored] == [result.snapshot.id for result in (first, second) if result.snapshot]
        assert stored[1].snapshot.parent == stored[0].id
        assert stored[0].snapshot.paths == [str(work)]
        assert limpet.snapshots(again, limpet.SnapshotFilter((), [["nightly"]], ())) == stored[:1]

        found = dict(limpet.list_files(again))
        assert found[os.fsencode(work / "sub/large")].size == 3_000_000
        assert limpet.read_file(again, str(work / "notes.txt")) == b"remember this"
        assert limpet.read_file(again, str(work / "notes.txt"), stored[0]) == b"remember"
        assert limpet.read_file(again, "/notes.txt", f"latest~1:{work}") == b"remember"
        chunks = limpet.read_chunks(again, os.fsencode(work / "sub/large"), stored[0].id.hex()[:12])
        assert b"".join(chunks) == (work / "sub/large").read_bytes()

        restored = limpet.restore(again, tmp_path / "restored", f"latest:{work}")
        assert restored.errors == 0
        assert facts(tmp_path / "restored") == facts(work)
        assert limpet.check(again, read_data=True).errors == []


def test_selection_and_several_targets(repository: limpet.Repository, work: Path) -> None:
    """Files, and what a command writes, without what nobody needs, in one snapshot."""
    targets: list[str | Path] = [work, "command:dump.sql=echo a dump"]
    limpet.backup(repository, targets, selection=limpet.Selection(exclude=["*.o"]))
    paths = {path for path, _ in limpet.list_files(repository)}
    assert os.fsencode(work / "notes.txt") in paths
    assert os.fsencode(work / "sub/junk.o") not in paths
    assert limpet.read_file(repository, "/dump.sql") == b"a dump\n"


def test_errors(place: Place, repository: limpet.Repository, work: Path) -> None:
    """Each failure has a class of its own, so that a program can tell them apart."""
    with pytest.raises(NoRepositoryError):
        limpet.open_repository(MemoryBackend(), PASSWORD)
    with pytest.raises(WrongPasswordError):
        limpet.open_repository(place, "wrong")
    with pytest.raises(RepositoryError, match="already exists"):
        limpet.create_repository(place, PASSWORD)
    with pytest.raises(RepositoryError):
        limpet.read_file(repository, "/notes.txt")
    limpet.backup(repository, [work])
    for path in (str(work), str(work / "gone"), "/"):
        with pytest.raises(RepositoryError):
            limpet.read_file(repository, path)
    with pytest.raises(SourceError, match="do not exist"):
        limpet.backup(repository, [work / "gone"])
    with pytest.raises(UsageError):
        limpet.backup(repository, [work], selection=limpet.Selection(exclude=["[bad"]))
    with pytest.raises(SourceError, match="exit status 3"):
        limpet.backup(repository, [work, "command:x=sh -c 'echo x; exit 3'"])
    assert len(limpet.snapshots(repository)) == 1
    with repository.lock(exclusive=True), pytest.raises(LockedError):
        limpet.backup(repository, [work])


def test_snapshots_made_elsewhere(place: Place, repository: limpet.Repository, work: Path) -> None:
    """A service keeps its repository open for days and must see what others have stored since."""
    limpet.backup(repository, [work])
    assert len(list(limpet.list_files(repository))) > 3
    with limpet.open_repository(place, PASSWORD) as other:
        (work / "later.txt").write_text("later")
        limpet.backup(other, [work])
        assert limpet.read_file(repository, str(work / "later.txt")) == b"later"


@pytest.mark.parametrize("level", ["off", "max"])
@pytest.mark.parametrize("version", [1, 2])
def test_settings(work: Path, version: int, level: str) -> None:
    """Compression and pack size are the caller's choice."""
    from limpet.format.compression import Level  # noqa: PLC0415  # a user finds it there too

    settings = limpet.RepositorySettings(compression=Level(level), pack_size_bytes=4 << 20)
    backend = MemoryBackend()
    kdf = KdfParameters(2, 1, 1, new_salt())
    with limpet.create_repository(backend, PASSWORD, version=version, settings=settings, kdf=kdf) as repository:
        (work / "zeros").write_bytes(b"text " * 100_000)
        limpet.backup(repository, [work])
        assert limpet.read_file(repository, str(work / "zeros")) == b"text " * 100_000
        assert limpet.check(repository, read_data=True).errors == []
        assert replace(settings).compression is Level(level)


def test_nothing_is_printed(repository: limpet.Repository, work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A library that writes to the terminal cannot be used in a program that has one."""
    (work / "gone").symlink_to("nowhere")
    limpet.backup(repository, [work])
    limpet.check(repository)
    assert capfd.readouterr() == ("", "")


def test_example_of_the_docstring(work: Path, tmp_path: Path) -> None:
    """The first thing that somebody copies has to work, in a program of its own."""
    import limpet.library  # noqa: PLC0415  # for its text

    text = limpet.library.__doc__ or ""
    example = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    assert "limpet.backup(" in example
    place = tmp_path / "repository"
    limpet.create_repository(str(place), "secret", kdf=KdfParameters(2, 1, 1, new_salt())).close()
    program = example.replace("/srv/backup", str(place)).replace("/home/u/work", str(work))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(work) in done.stdout


def test_without_the_command_line() -> None:
    """The library must not bring click, rich or the command line into every program."""
    program = """
import sys, limpet
from limpet.storage.memory import MemoryBackend
limpet.create_repository; limpet.open_repository; limpet.backup; limpet.restore; limpet.check
assert not {"click", "rich", "limpet.cli"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_every_name_is_there() -> None:
    """What `from limpet import *` promises."""
    missing: list[str] = [name for name in limpet.__all__ if not hasattr(limpet, name)]
    assert missing == []
    check: Callable[[], object] = lambda: getattr(limpet, "nonsense")  # noqa: B009, E731  # mypy knows there is none
    with pytest.raises(AttributeError, match="nonsense"):
        check()

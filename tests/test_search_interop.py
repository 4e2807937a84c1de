"""find, diff and stats beside real restic 0.19 where a table of command lines does not reach: times, links, damage."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from limpet import create_repository, list_files, open_repository
from limpet.cli.main import main
from limpet.contracts.backend import FileKind, Handle
from limpet.format.kdf import KdfParameters
from limpet.format.node import NodeType
from limpet.format.pack import BlobKind
from limpet.format.snapshot import encode_snapshot
from limpet.format.tree import encode_nodes
from limpet.repository.saver import BlobSaver
from limpet.repository.snapshots import load_snapshots
from limpet.testing.restic import Restic

PASSWORD = "searched"
_LOSS = re.compile(rb"Unable to load tree [0-9a-f]+\n| \.\.\. which belongs to snapshot [0-9a-f]+\n")
Both = Callable[..., tuple[bytes, bytes]]

pytestmark = pytest.mark.interop


def fill(folder: Path) -> None:
    """The first state."""
    (folder / "sub/deep").mkdir(parents=True)
    for name, content in (("a.txt", b"a"), ("sub/b.txt", b"b" * 5000), ("sub/deep/c.TXT", b"c")):
        (folder / name).write_bytes(content)
        os.utime(folder / name, ns=(0, 1_583_064_000_500_000_000))  # 2020-03-01 12:00:00.5 UTC
    os.link(folder / "sub/b.txt", folder / "hard")
    (folder / "typed").write_text("was a file")
    (folder / "link").symlink_to("a.txt")
    (folder / os.fsdecode(b"n\xff")).write_text("bytes")


def change(folder: Path) -> None:
    """The second state: added, removed, touched, of another type, and content changed behind the metadata's back."""
    (folder / "typed").unlink()
    (folder / "typed").mkdir()
    (folder / "typed/new").write_text("new")
    (folder / "sub/deep/c.TXT").unlink()
    (folder / "a.txt").chmod(0o600)
    (folder / "sub/b.txt").write_bytes(b"B" * 5000)
    (folder / "link").unlink()
    (folder / "link").symlink_to("hard")


@pytest.fixture(scope="module")
def repository(restic_new: Restic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two snapshots of restic; opening it costs no time."""
    folder = tmp_path_factory.mktemp("search")
    path, source = folder / "repository", folder / "source"
    create_repository(str(path), PASSWORD, kdf=KdfParameters(2, 1, 1, bytes(64))).close()
    source.mkdir()
    fill(source)
    restic_new.run("backup", ".", "--time", "2024-01-01 10:00:00", repo=path, password=PASSWORD, cwd=source)
    change(source)
    restic_new.run("backup", ".", "--time", "2024-01-02 10:00:00", repo=path, password=PASSWORD, cwd=source)
    return path


@pytest.fixture
def both(
    restic_new: Restic, repository: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Both:
    """What restic and Limpet write to standard output for one command line; they end with the same code."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)

    def run(*arguments: str, repo: Path = repository) -> tuple[bytes, bytes]:
        theirs = restic_new.run("--no-lock", *arguments, repo=repo, password=PASSWORD, check=False)
        capfdbinary.readouterr()
        exit_code = main(["--no-cache", "--no-lock", "-r", str(repo), *arguments])
        out, err = capfdbinary.readouterr()
        assert exit_code == theirs.returncode, err + theirs.stderr
        return theirs.stdout, out

    return run


def ids(restic: Restic, repository: Path) -> list[str]:
    """The snapshots, oldest first."""
    found: list[dict[str, str]] = restic.json("snapshots", repo=repository, password=PASSWORD)
    return [one["id"] for one in found]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize(
    "text",
    [
        "2020-03-01", "2020-03-01 12:00", "2020-03-01 12:00:00", "2020-03-01 12:00:01", "2020-03-01 12:00:00.5",
        "2020-03-01 07:00:00 -0500", "2020-03-01 07:00:01 EST", "2020-03-01 12:00:01 UTC", "01.03.2020",
        "01.03.2020 7:00", "01.03.2020 12:00:01", "01.03.2020 17:30:01 +0530", "01.03.2020 12:00:01 XYZ",
        "Sun Mar 1 12:00:01 +0000 UTC 2020", "2020-02-30", "2020-3-1", "12:00", "2020-03-01T12:00:00Z",
        "2020-03-08 02:30", "2020-03-01 24:00", "2020-03-01 12:00:00 -500",
    ],
)  # fmt: skip
def test_moments(both: Both, monkeypatch: pytest.MonkeyPatch, zone: str, text: str) -> None:
    """A file would be searched in another hour than restic searches it, or a wrong time be taken for a right one."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    for option in ("--oldest", "--newest"):
        theirs, ours = both("find", "--json", option, text, "*.txt")
        assert ours == theirs
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("metadata", [[], ["--metadata"]])
@pytest.mark.parametrize("form", [[], ["--json"], ["--quiet"]])
def test_diff(both: Both, restic_new: Restic, repository: Path, metadata: list[str], form: list[str]) -> None:
    """Every kind of change, both ways."""
    first, second = ids(restic_new, repository)
    for one, other in ((first, second), (second, first), (first, first)):
        theirs, ours = both("diff", *metadata, *form, one, other)
        assert ours == theirs


def test_bitrot(both: Both, restic_new: Restic, repository: Path, tmp_path: Path) -> None:
    """The one change that nobody meant to make has a mark of its own."""
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy)
    with open_repository(str(copy), PASSWORD) as opened:
        stored = load_snapshots(opened)[-1]
        opened.load_index()
        assert stored.snapshot.tree is not None
        nodes = opened.load_tree(stored.snapshot.tree)
        content = next(node.content for node in nodes if node.name == b"hard")
        for node in nodes:
            if node.name == b"a.txt":
                node.content = content
        with closing(BlobSaver(opened)) as saver:
            stored.snapshot.tree = saver.save_tree(encode_nodes(nodes))
            saver.flush()
        opened.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(stored.snapshot))
    *_, second, third = ids(restic_new, copy)
    theirs, ours = both("diff", second, third, repo=copy)
    assert ours == theirs
    assert b"M?" in ours


@pytest.mark.parametrize("mode", ["restore-size", "files-by-contents", "blobs-per-file", "raw-data"])
def test_stats(both: Both, mode: str) -> None:
    """Hard links, changed types and names that are no UTF-8 are counted as restic counts them."""
    theirs, ours = both("stats", "--json", "--mode", mode, "latest")
    assert ours == theirs


def test_lost_tree(both: Both, repository: Path, tmp_path: Path) -> None:
    """In a damaged repository both tell of the folder that is lost, and of what is left."""
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy)
    with open_repository(str(copy), PASSWORD) as opened:
        opened.load_index()
        lost = next(node for _, node in list_files(opened, "latest~1") if node.type is NodeType.DIR)
        assert lost.subtree is not None
        packs = {place.pack_id for place in opened.index.find_all(BlobKind.TREE, lost.subtree)}
        for pack_id in packs:
            opened.backend.remove(Handle(FileKind.PACK, pack_id.hex()))
    for arguments in (("find", "*.txt"), ("find", "--json", "a.txt"), ("find", "--blob", "cafecafe")):
        theirs, ours = both(*arguments, repo=copy)
        # restic tells of the loss beside what it finds, and where in it is left to chance.
        assert _LOSS.sub(b"", ours) == _LOSS.sub(b"", theirs)
        assert sorted(_LOSS.findall(ours)) == sorted(_LOSS.findall(theirs))


def test_versions(repository: Path, both: Both, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`--group` tells each version once, as text and as JSON, and has no meaning for blobs."""
    main(["--no-cache", "--no-lock", "-r", str(repository), "find", "--group", "--json", "a.txt", "hard"])
    versions = json.loads(capfdbinary.readouterr().out)
    assert [(one["path"], one["permissions"], len(one["snapshots"])) for one in versions] == [
        ("/a.txt", "-rw-------", 1),
        ("/a.txt", "-rw-r--r--", 1),
        ("/hard", "-rw-r--r--", 1),
        ("/hard", "-rw-r--r--", 1),
    ]
    main(["--no-cache", "--no-lock", "-r", str(repository), "find", "--group", "c.TXT"])
    lines = capfdbinary.readouterr().out.splitlines()
    assert lines[0].endswith(b" /sub/deep/c.TXT")
    assert lines[1].startswith(b" ... in 1 snapshot: ")
    assert main(["--no-cache", "-r", str(repository), "find", "--group", "--blob", "cafecafe"]) == 1

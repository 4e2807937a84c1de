"""Every command beside real restic 0.19 on one repository: the same documents, text and exit codes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from limpet import registry
from limpet.cli.main import main
from limpet.contracts.backend import FileKind
from limpet.format.kdf import KdfParameters
from limpet.format.lockfile import LockFile, encode_lockfile
from limpet.format.timestamps import Time
from limpet.repository.repository import Repository
from limpet.testing.restic import Restic

PASSWORD = "geheim-5f3a"
CHEAP = KdfParameters(n=16, r=8, p=1, salt=bytes(64))
NAMES = [b"plain", b"esc\x1b[31mred", b"bad\xffname", b"<h&>", "ä ü 宽".encode(), b".hidden", b"x.tar.gz", b'q"\\']

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it wrote."""

    exit_code: int
    out: bytes
    err: str

    @property
    def documents(self) -> list[Any]:
        """The JSON documents it wrote to standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class Pair:
    """Runs one command line with restic and with Limpet."""

    restic: Restic
    repository: Path
    capture: pytest.CaptureFixture[bytes]

    def of_restic(self, *arguments: str | Path, repo: str | Path | None = None, password: str = PASSWORD) -> Ended:
        """With restic."""
        done = self.restic.run(*arguments, repo=repo or self.repository, password=password, check=False)
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    def of_limpet(self, *arguments: str | Path, repo: str | Path | None = None, password: str = PASSWORD) -> Ended:
        """With Limpet, in this process."""
        os.environ["LIMPET_PASSWORD"] = password
        self.capture.readouterr()
        exit_code = main(["--no-cache", "-r", str(repo or self.repository), *map(str, arguments)])
        out, err = self.capture.readouterr()
        return Ended(exit_code, out, err.decode())

    def both(self, *arguments: str | Path, **more: Any) -> tuple[Ended, Ended]:
        """With both: restic's first."""
        return self.of_restic(*arguments, **more), self.of_limpet(*arguments, **more)

    def snapshot_ids(self) -> list[str]:
        """All snapshots, oldest first, as restic tells."""
        return [one["id"] for one in json.loads(self.of_restic("snapshots", "--json").out)]


def fill(folder: Path) -> None:
    """Files and folders of every kind that needs no root."""
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "empty").mkdir(mode=0o1777)
    (folder / "a/big").write_bytes(os.urandom(2_000_000))
    (folder / "a/b/c/deep.txt").write_text("hi")
    for size, name in enumerate(NAMES):
        Path(os.fsdecode(os.fsencode(folder / "a") + b"/" + name)).write_bytes(b"x" * (size % 3))
    (folder / "a/link").symlink_to("../a/big")
    os.mkfifo(folder / "a/pipe")
    (folder / "a/x.tar.gz").chmod(0o4755)
    os.utime(folder / "a/plain", ns=(-300_000_000_500_000_000, -300_000_000_500_000_000))


@pytest.fixture(scope="module")
def repository(restic_new: Restic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four snapshots of restic, of two hosts and with several tags and paths; opening it costs no time."""
    folder = tmp_path_factory.mktemp("interop")
    path, source = folder / "repository", folder / "source"
    Repository.create(registry.open_backend(str(path)), PASSWORD, kdf=CHEAP).close()
    fill(source)
    backups: Sequence[Sequence[str | Path]] = (
        [source / "a", "--tag", "one,two", "--host", "h1"],
        [source / "a", source / "empty", "--tag", "one", "--host", "h2"],
        [source, "--host", "h1", "--time", "2020-01-01 10:00:00"],
        [source, "--host", "h1", "--exclude", "big"],
    )
    for arguments in backups:
        restic_new.run("backup", *arguments, repo=path, password=PASSWORD)
    return path


@pytest.fixture
def pair(
    restic_new: Restic, repository: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Pair:
    """Both programs on the repository."""
    for name in list(os.environ):
        if name.startswith("RESTIC_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)  # restored after what `of_limpet` sets
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115  # open as long as the test
    return Pair(restic_new, repository, capfdbinary)


SAME_BYTES = [
    "snapshots",
    "snapshots --compact",
    "snapshots --latest 1",
    "snapshots --host h1 --tag one",
    "snapshots --tag one,two --tag none",
    "snapshots --json",
    "snapshots --json --tag one",
    "snapshots latest",
    "snapshots latest nosuch",
    "snapshots nosuch",
    "snapshots --group-by paths --host h2 --json",
    "ls latest",
    "ls latest --long",
    "ls latest --long --human-readable",
    "ls latest --json",
    "ls latest --ncdu",
    "ls latest --sort size --long",
    "ls latest --sort time --reverse",
    "ls latest --sort extension --json",
    "ls latest --quiet",
    "ls latest --host h2",
    "ls",
    "ls latest relative",
    "ls latest --json --ncdu",
    "ls latest --ncdu --reverse",
    "cat config",
    "cat masterkey",
    "cat",
    "cat nonsense",
    "cat blob",
    "cat blob 0000000000000000000000000000000000000000000000000000000000000000",
    "cat snapshot nosuch",
    "key list",
    "key list --json",
    "unlock",
    "--quiet --verbose snapshots",
]


@pytest.mark.parametrize("line", SAME_BYTES)
def test_same_output(pair: Pair, line: str) -> None:
    """A script that reads restic's output would break with Limpet."""
    restic, limpet = pair.both(*line.split())
    assert limpet == restic


def test_listings_of_folders(pair: Pair) -> None:
    """`ls SNAPSHOT FOLDER` would list more or less than restic."""
    newest = pair.snapshot_ids()[-1]
    source = pair.repository.parent / "source"
    for arguments in (
        [newest, source / "a"],
        [newest, source / "a", "--recursive", "--long"],
        [newest[:10], source / "a/b", source / "empty", "--ncdu"],
        [f"{newest}:{source}/a", "--json"],
        [f"{newest}:{source}", "/a", "--recursive"],
        ["latest", "/nowhere"],
        ["latest", source / "a/../a//b/", "--recursive"],
    ):
        restic, limpet = pair.both("ls", *arguments)
        assert limpet == restic


def test_stored_objects(pair: Pair) -> None:
    """`cat` would show other bytes than are stored."""
    newest = pair.snapshot_ids()[-1]
    names = {kind: sorted(os.listdir(pair.repository / kind)) for kind in ("keys", "index")}
    pack = next(name for _, _, files in os.walk(pair.repository / "data") for name in files)
    source = pair.repository.parent / "source"
    blob = pair.of_restic("list", "blobs").out.split()[1].decode()
    for arguments in (
        ["snapshot", newest],
        ["snapshot", newest[:9]],
        ["key", names["keys"][0]],
        ["index", names["index"][0]],
        ["pack", pack],
        ["blob", blob],
        ["tree", f"{newest}:{source}/a"],
    ):
        restic, limpet = pair.both("cat", *arguments)
        assert limpet == restic


@pytest.mark.parametrize("kind", ["blobs", "packs", "index", "snapshots", "keys", "locks"])
def test_same_ids(pair: Pair, kind: str) -> None:
    """A script that walks over all packs would miss some."""
    restic, limpet = pair.both("list", kind)
    assert sorted(limpet.out.splitlines()) == sorted(restic.out.splitlines())
    assert (limpet.exit_code, limpet.err) == (restic.exit_code, restic.err)


def test_groups(pair: Pair) -> None:
    """A report by host and tags would put snapshots into the wrong group. restic gives groups in random order."""
    restic, limpet = pair.both("snapshots", "--json", "--group-by", "host,tags")
    ours, theirs = limpet.documents[0], restic.documents[0]
    assert sorted(ours, key=json.dumps) == sorted(theirs, key=json.dumps)


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["snapshots"], 0),
        (["nosuchcommand"], 1),
        (["snapshots", "--nosuchflag"], 1),
        (["ls", "nosuch"], 1),
        (["ls", "latest", "--host", "nobody"], 1),
        (["cat", "config", "--pack-size", "500"], 1),
        (["snapshots", "--retry-lock", "5"], 1),
        (["snapshots", "--group-by", "month"], 1),
        (["key", "remove"], 1),
        (["key", "add", "superfluous"], 1),
        (["init", "--repository-version", "3"], 1),
        (["init", "--repository-version", "x"], 1),
        (["init"], 1),
    ],
)
def test_same_exit_code(pair: Pair, arguments: Sequence[str], exit_code: int) -> None:
    """A script could not tell success from failure."""
    restic, limpet = pair.both(*arguments)
    assert (restic.exit_code, limpet.exit_code) == (exit_code, exit_code)
    assert limpet.err == "" if exit_code == 0 else limpet.err.count("\n") == 1 or "Did you mean" in limpet.err


def test_incomplete_backup(pair: Pair, tmp_path: Path) -> None:
    """Scripts tell on exit code 3 that something was not saved."""
    (tmp_path / "there").write_text("x")
    for arguments in (["--json"], []):
        restic, limpet = pair.both("backup", "--dry-run", tmp_path / "there", tmp_path / "missing", *arguments)
        assert (restic.exit_code, limpet.exit_code) == (3, 3)
        warning = "Warning: at least one source file could not be read"
        assert warning in restic.err.splitlines()[-1]
        assert warning in limpet.err.splitlines()[-1]
        if arguments:
            ours, theirs = (ended.documents[-1] for ended in (limpet, restic))
            assert ours.keys() == theirs.keys()
            assert json.loads(limpet.err.splitlines()[-1]) == json.loads(restic.err.splitlines()[-1])


def test_no_repository(pair: Pair, tmp_path: Path) -> None:
    """Scripts create the repository on exit code 10."""
    for arguments in (["snapshots"], ["--json", "snapshots"]):
        restic, limpet = pair.both(*arguments, repo=tmp_path / "none")
        assert (restic.exit_code, limpet.exit_code) == (10, 10)
        place = "Is there a repository at the following location?"
        assert place in restic.err
        assert place in limpet.err
    ours, theirs = json.loads(limpet.err), json.loads(restic.err)
    assert (ours.keys(), ours["code"]) == (theirs.keys(), theirs["code"])


def test_wrong_password(pair: Pair) -> None:
    """Scripts ask again on exit code 12."""
    for arguments in (["snapshots"], ["--json", "snapshots"]):
        restic, limpet = pair.both(*arguments, password="falsch-9d2b")
        assert limpet == restic
        assert limpet.exit_code == 12


def test_locked_repository(pair: Pair) -> None:
    """Scripts try again later on exit code 11; a lock of either program has to count for both."""
    with Repository.open(registry.open_backend(str(pair.repository)), PASSWORD) as repository:
        lock = LockFile(Time(time.time_ns()), True, "elsewhere", "root", 4711)
        repository.save_unpacked(FileKind.LOCK, encode_lockfile(lock))
    for arguments in (["snapshots"], ["key", "remove", "x"], ["--json", "snapshots"]):
        restic, limpet = pair.both(*arguments)
        assert (restic.exit_code, limpet.exit_code) == (11, 11)
        assert "repository is already locked exclusively by PID 4711 on elsewhere" in limpet.err
        assert "the `unlock` command can be used to remove stale locks" in limpet.err
    ours, theirs = json.loads(limpet.err), json.loads(restic.err)
    assert (ours.keys(), ours["code"]) == (theirs.keys(), theirs["code"])
    name = os.listdir(pair.repository / "locks")[0]
    restic, limpet = pair.both("--no-lock", "cat", "lock", name)
    assert limpet == restic
    assert pair.of_limpet("--no-lock", "snapshots").exit_code == 0
    assert pair.of_limpet("unlock").exit_code == 0
    assert os.listdir(pair.repository / "locks") == [name]
    removed = pair.of_limpet("unlock", "--remove-all")
    assert (removed.exit_code, removed.out) == (0, b"successfully removed 1 locks\n")
    assert os.listdir(pair.repository / "locks") == []


@pytest.mark.parametrize("version", ["1", "2", "latest", "stable"])
def test_init(pair: Pair, tmp_path: Path, version: str) -> None:
    """restic could not use a repository that Limpet made, or it would have another version than was asked for."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    made = pair.of_limpet("init", "--repository-version", version, "--json", repo=ours)
    told = pair.of_restic("init", "--repository-version", version, "--json", repo=theirs)
    assert (made.exit_code, made.err) == (told.exit_code, told.err) == (0, "")
    (document,), (model,) = made.documents, told.documents
    assert document.keys() == model.keys()
    assert (document["message_type"], document["repository"]) == ("initialized", str(ours))
    config, model = (json.loads(pair.of_restic("cat", "config", repo=place).out) for place in (ours, theirs))
    assert (config["version"], config["id"]) == (model["version"], document["id"])
    checked = pair.of_restic("check", repo=ours)
    assert checked.exit_code == 0, checked.err


def test_init_copies_the_chunkers_parameters(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two repositories could not share chunks when one is copied to the other."""
    place = tmp_path / "copy"
    refused = pair.of_limpet("init", "--from-repo", pair.repository, repo=place)
    assert (refused.exit_code, "when copying the chunker parameters" in refused.err) == (1, True)
    assert not place.exists()
    refused = pair.of_limpet("init", "--copy-chunker-params", repo=place)
    assert (refused.exit_code, "specify a source repository" in refused.err) == (1, True)
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.setenv("RESTIC_FROM_REPOSITORY", str(pair.repository))
    made = pair.of_limpet(
        "init", "--copy-chunker-params", "--from-password-file", tmp_path / "password", repo=place, password="other"
    )
    assert (made.exit_code, b"copied from secondary repository" in made.out) == (0, True)
    configs = [
        json.loads(pair.of_limpet("cat", "config", repo=at, password=password).out)
        for at, password in ((pair.repository, PASSWORD), (place, "other"))
    ]
    assert configs[0]["chunker_polynomial"] == configs[1]["chunker_polynomial"]
    assert configs[0]["id"] != configs[1]["id"]


def test_keys_of_each_open_with_the_other(pair: Pair, tmp_path: Path) -> None:
    """Somebody who changed a password with one program would be locked out by the other."""
    place, first, second = tmp_path / "repository", tmp_path / "first", tmp_path / "second"
    Repository.create(registry.open_backend(str(place)), PASSWORD, kdf=CHEAP).close()
    first.write_text("erstes-1")
    second.write_text("zweites-2")
    assert pair.of_limpet("key", "add", "--new-password-file", first, repo=place).exit_code == 0
    changed = pair.of_restic("key", "passwd", "--new-password-file", second, repo=place, password="erstes-1")
    assert changed.exit_code == 0, changed.err
    restic, limpet = pair.both("key", "list", "--json", repo=place, password="zweites-2")
    assert sorted(limpet.documents[0], key=str) == sorted(restic.documents[0], key=str)
    assert pair.of_limpet("snapshots", repo=place, password="erstes-1").exit_code == 12
    assert pair.of_limpet("key", "passwd", "--new-insecure-no-password", repo=place).exit_code == 0
    assert pair.of_restic("snapshots", "--insecure-no-password", repo=place, password="").exit_code == 0


def test_cache_listing(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old caches would fill the disk, or those in use would be removed."""
    caches = tmp_path / "caches"
    command = ["--cache-dir", str(caches), "-r", str(pair.repository)]
    assert main([*command, "snapshots"]) == 0
    pair.capture.readouterr()
    old = caches / ("0" * 64)
    old.mkdir()
    os.utime(old, (0, 0))
    theirs = subprocess.run([pair.restic.binary, "cache", "--cache-dir", caches], capture_output=True, check=True)
    assert main(["--cache-dir", str(caches), "cache"]) == 0
    assert pair.capture.readouterr()[0] == theirs.stdout
    assert main(["--cache-dir", str(caches), "cache", "--cleanup", "--max-age", "10"]) == 0
    assert pair.capture.readouterr()[0] == b"remove 1 old cache directories\n"
    assert not old.exists()
    assert len([entry for entry in caches.iterdir() if entry.is_dir()]) == 1


def test_version_is_quick() -> None:
    """A shell prompt or a script that asks for the version would wait."""

    def start_cpu_s() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "limpet.cli.main", "version"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # CPU time, and the least of several: on an idle machine it is the wall time, and other tests do not count.
    assert min(start_cpu_s() for _ in range(5)) < 0.15

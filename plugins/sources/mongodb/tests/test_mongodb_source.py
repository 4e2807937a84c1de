"""MongoDB as a source and back. There is no server to be had here: stand-ins for its tools keep what they are told."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

import pytest
from limpet.contracts.destination import DestinationRequest
from limpet.contracts.source import Source, SourceRequest
from limpet.errors import UsageError
from limpet.testing.restic import Restic
from limpet.testing.source import SourceConformance
from limpet_source_mongodb import MongodbDestination, MongodbSource
from limpet_source_mongodb.names import database_of

from tests.sources.runs import PASSWORD as REPOSITORY_PASSWORD
from tests.sources.runs import Runs, command_lines, wait_until

SECRET = 'not: "to" be\\seen #é'
ARCHIVE = b"\x6d\xe2\x99\x81" + bytes(range(256)) * 5000

# Stands for mongodump and mongorestore: tells what it was told, and ends as the file `ending` says.
TOOL = """#!{python}
import json, os, signal, stat, sys, time
folder = "{folder}"
name = os.path.basename(sys.argv[0])
config = [word.partition("=")[2] for word in sys.argv if word.startswith("--config=")]
told = {{"argv": sys.argv[1:], "pid": os.getpid()}}
if config:
    told["config"] = open(config[0]).read()
    told["mode"] = stat.S_IMODE(os.stat(config[0]).st_mode)
ending = open(folder + "/ending").read()
print("2026-11-22T07:00:00.000+0000\\twriting shop.goods to archive on stdout", file=sys.stderr, flush=True)
if name == "mongodump":
    archive = open(folder + "/archive", "rb").read()
    sys.stdout.buffer.write(archive[: len(archive) // 2])
    sys.stdout.buffer.flush()
else:
    received = sys.stdin.buffer.read(10 if ending == "deaf" else -1)
    open(folder + "/received", "wb").write(received)
with open(folder + "/told.new", "w") as file:
    json.dump(told, file)
os.rename(folder + "/told.new", folder + "/told")
if ending == "hang":
    time.sleep(1000)
while ending == "seen" and not os.path.exists(folder + "/seen"):
    time.sleep(0.01)
if ending in ("fail", "deaf"):
    print("2026-11-22T07:00:00.000+0000\\tFailed: error connecting to host: auth error", file=sys.stderr)
    sys.exit(1)
if ending == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if name == "mongodump":
    sys.stdout.buffer.write(archive[len(archive) // 2 :])
"""


class Tools:
    """The stand-ins, in a folder for PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = f"{folder / 'bin'}:{os.environ['PATH']}"

    @classmethod
    def made(cls, folder: Path) -> Self:
        """New ones."""
        (folder / "bin").mkdir(parents=True)
        for name in ("mongodump", "mongorestore"):
            (folder / "bin" / name).write_text(TOOL.format(python=sys.executable, folder=folder))
            (folder / "bin" / name).chmod(0o755)
        (folder / "archive").write_bytes(ARCHIVE)
        (folder / "password").write_text(f"{SECRET}\n")
        tools = cls(folder)
        tools.end("well")
        return tools

    @classmethod
    def of(cls, runs: Runs) -> Self:
        """Those that the runs use."""
        return cls(runs.folder.parent / "tools")

    def end(self, how: str) -> None:
        """They end like this from now on: well, fail, killed, hang, deaf, or once they were seen."""
        (self.folder / "ending").write_text(how)

    @contextmanager
    def end_once_seen(self, seen: set[bytes]) -> Iterator[None]:
        """They end as soon as their command line is among those."""
        self.end("seen")

        def watch() -> None:
            wait_until(lambda: any(b"--numParallelCollections=1" in line for line in seen.copy()))
            (self.folder / "seen").touch()

        with ThreadPoolExecutor(1) as pool:
            watching = pool.submit(watch)
            yield
            watching.result()

    @property
    def told(self) -> Mapping[str, object]:
        """What the last of them was told."""
        found: Mapping[str, object] = json.loads((self.folder / "told").read_text())
        return found

    @property
    def argv(self) -> list[str]:
        """Its arguments, but for the file with the password."""
        words = self.told["argv"]
        assert isinstance(words, list)
        return [word for word in words if not word.startswith("--config=")]


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """The stand-ins."""
    return Tools.made(tmp_path / "tools")


@pytest.fixture
def runs(tools: Tools) -> Runs:
    """The command line with the stand-ins, and a repository."""
    return Runs(tools.folder.parent / "runs", {"PATH": tools.path})


class TestMongodb(SourceConformance):
    """One database and all of another server."""

    @pytest.fixture
    def source(self, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
        """Two archives."""
        monkeypatch.setenv("PATH", tools.path)
        source = MongodbSource.open(SourceRequest(["//localhost/shop", "//db2:27018"]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self) -> SourceRequest:
        """A collection is no database."""
        return SourceRequest(["//localhost/shop/goods"])


@pytest.mark.parametrize(
    ("address", "options", "path", "argv"),
    [
        ("mongodb://h/shop", [], "/mongodb/h/shop.archive", ["--uri=mongodb://h/", "--db=shop"]),
        ("mongodb:///shop", [], "/mongodb/localhost/shop.archive", ["--uri=mongodb://localhost/", "--db=shop"]),
        ("mongodb://h:1/", [], "/mongodb/h:1/all-databases-oplog.archive", ["--uri=mongodb://h:1/", "--oplog"]),
        ("mongodb://h", ["mongodb.oplog=false"], "/mongodb/h/all-databases.archive", ["--uri=mongodb://h/"]),
        (
            "mongodb://h/shop?replicaSet=rs0&tls=true&tlsCAFile=/etc/ca.pem&srv=true",
            [],
            "/mongodb/h/shop.archive",
            ["--uri=mongodb+srv://h/?replicaSet=rs0&tls=true&tlsCAFile=%2Fetc%2Fca.pem", "--db=shop"],
        ),
        (
            "mongodb://h/all-databases",
            [],
            "/mongodb/h/all%2Ddatabases.archive",
            ["--uri=mongodb://h/", "--db=all-databases"],
        ),
    ],
)
def test_command_line(address: str, options: list[str], path: str, argv: list[str], runs: Runs) -> None:
    """One wrong flag, and what is dumped is another database, or compressed so that every backup stores all of it."""
    runs.run("backup", *(word for option in options for word in ("-o", option)), address)
    assert Tools.of(runs).argv == [argv[0], "--archive", "--numParallelCollections=1", *argv[1:]]
    assert runs.restored(path) == ARCHIVE


def test_archive_through_restic(runs: Runs, tmp_path: Path, restic_any: Restic) -> None:
    """It comes back byte for byte, by the other program too."""
    runs.run("backup", "mongodb://h/shop")
    restic_any.run(
        "restore", "latest", "--target", tmp_path / "out", repo=runs.repository, password=REPOSITORY_PASSWORD
    )
    assert (tmp_path / "out/mongodb/h/shop.archive").read_bytes() == ARCHIVE
    assert runs.backup("mongodb://h/shop")["data_blobs"] == 0


def test_password(tools: Tools, runs: Runs) -> None:
    """MongoDB's tools take it on the command line, where every user of the machine reads it: never there."""
    with command_lines() as seen, tools.end_once_seen(seen):
        said = runs.run("backup", "-vv", "-o", f"mongodb.password_file={tools.folder}/password", "mongodb://app@h/shop")
    assert tools.told["config"] == f"password: {json.dumps(SECRET)}\n"
    assert tools.told["mode"] == stat.S_IRUSR | stat.S_IWUSR
    assert "--uri=mongodb://app@h/" in tools.argv
    assert not [line for line in seen if SECRET.encode() in line]
    assert SECRET not in said
    assert "writing shop.goods" in said
    assert runs.leftovers() == []
    runs.run("backup", f"mongodb://app@h/shop?password_command=cat {tools.folder}/password")
    assert tools.told["config"] == f"password: {json.dumps(SECRET)}\n"


def test_chatter_is_no_warning(runs: Runs) -> None:
    """mongodump tells of each collection on its standard error: in a mail every night nobody would read on."""
    assert "writing shop.goods" not in runs.run("backup", "mongodb://h/shop")


@pytest.mark.parametrize(
    ("ending", "words"),
    [("fail", "exit status 1: 2026-11-22T07:00:00.000+0000\tFailed: error"), ("killed", "signal: killed")],
)
def test_failing_tool_is_no_snapshot(ending: str, words: str, tools: Tools, runs: Runs) -> None:
    """The first half of an archive restores without a complaint, half of the collections."""
    tools.end(ending)
    said = runs.refused("-o", f"mongodb.password_file={tools.folder}/password", "mongodb://app@h/shop")
    assert "mongodb://app@h/shop" in said
    assert words in said
    assert "seen" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_leaves_nothing(number: int, tools: Tools, runs: Runs) -> None:
    """The file with the password is gone, and no dump goes on."""
    tools.end("hang")
    runs.stopped(
        "-o",
        f"mongodb.password_file={tools.folder}/password",
        "mongodb://app@h/shop",
        at=(tools.folder / "told").exists,
        number=number,
    )
    wait_until(lambda: not Path(f"/proc/{tools.told['pid']}").exists())


@pytest.mark.parametrize(
    ("stored", "place", "options", "argv"),
    [
        (
            "mongodb://h/shop",
            "mongodb://h2/shop",
            [],
            ["--uri=mongodb://h2/", "--archive", "--stopOnError", "--nsInclude=shop.*"],
        ),
        (
            "mongodb://h/shop",
            "mongodb://h/shop_copy",
            ["-o", "mongodb.drop=true"],
            [
                "--uri=mongodb://h/", "--archive", "--stopOnError", "--drop",
                "--nsInclude=shop.*", "--nsFrom=shop.*", "--nsTo=shop_copy.*",
            ],
        ),
        ("mongodb://h", "mongodb://h2", [], ["--uri=mongodb://h2/", "--archive", "--stopOnError", "--oplogReplay"]),
    ],
)  # fmt: skip
def test_restore(stored: str, place: str, options: list[str], argv: list[str], runs: Runs) -> None:
    """mongorestore gets the whole archive, and is told to stop where it cannot store a document."""
    runs.run("backup", stored)
    runs.run("restore", "latest", *options, "--into", place)
    tools = Tools.of(runs)
    assert tools.argv == argv
    assert (tools.folder / "received").read_bytes() == ARCHIVE


def test_restore_with_a_password(tools: Tools, runs: Runs) -> None:
    """The way back keeps the secret as well."""
    runs.run("backup", "mongodb://h/shop")
    option = f"mongodb.password_file={tools.folder}/password"
    with command_lines() as seen:
        runs.run("restore", "latest", "-o", option, "--into", "mongodb://app@h/shop")
    assert tools.told["config"] == f"password: {json.dumps(SECRET)}\n"
    assert not [line for line in seen if SECRET.encode() in line]
    assert runs.leftovers() == []


@pytest.mark.parametrize("ending", ["fail", "deaf", "killed"])
def test_failing_restore_is_told(ending: str, tools: Tools, runs: Runs) -> None:
    """A restore that did not take is only worse if it says that it did."""
    runs.run("backup", "mongodb://h/shop")
    tools.end(ending)
    said = runs.run("restore", "latest", "--into", "mongodb://h/shop", exit_code=1)
    assert "signal: killed" in said if ending == "killed" else "exit status 1" in said
    assert "mongodb://h/shop" in said


def test_tools_that_are_missing(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once, with the package's name."""
    monkeypatch.setenv("PATH", str(tools.folder))
    with pytest.raises(UsageError, match=r"mongodump .*mongodb-database-tools"):
        MongodbSource.open(SourceRequest(["//localhost/shop"]))
    with pytest.raises(UsageError, match=r"mongorestore .*mongodb-database-tools"):
        MongodbDestination.open(DestinationRequest("//localhost/shop"))


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("localhost/shop", "not of the form"),
        ("//app:secret@localhost/shop", "holds a password"),
        ("//app@localhost/shop", "no password of the user"),
        ("//localhost/shop?tlsCertificateKeyFilePassword=secret", "is not known"),
        ("//localhost/shop/goods", "'shop/goods' is none"),
        ("//a:1,b:2/shop", "not of the form"),
    ],
)
def test_addresses_that_make_no_sense(rest: str, words: str) -> None:
    """Said before anything is done, and without a password that is in it."""
    for kind, request in ((MongodbSource, SourceRequest([rest])), (MongodbDestination, DestinationRequest(rest))):
        with pytest.raises(UsageError, match=words) as refused:
            kind.open(request)  # type: ignore[arg-type]
        assert "secret" not in str(refused.value)


def test_user_without_a_password(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who signs in with a certificate has none."""
    monkeypatch.setenv("PATH", tools.path)
    with closing(MongodbSource.open(SourceRequest(["//app@localhost/shop?authMechanism=MONGODB-X509"]))) as source:
        assert source.snapshot_paths == ["/mongodb/localhost/shop.archive"]


def test_one_database_twice() -> None:
    """Two archives cannot be in one place."""
    with pytest.raises(UsageError, match="named twice"):
        MongodbSource.open(SourceRequest(["//localhost/shop", "//localhost/shop"]))


def test_destination_wants_what_fits(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """All databases in one, or one without a name, would end nowhere."""
    monkeypatch.setenv("PATH", tools.path)
    for place, path, words in (
        ("//h/shop", "/mongodb/h/all-databases.archive", "leave out 'shop'"),
        ("//h", "/mongodb/h/shop.archive", "name it, mongodb://h/shop"),
        ("//h/shop", "/home/letter.txt", "is no archive"),
    ):
        with (
            closing(MongodbDestination.open(DestinationRequest(place))) as destination,
            pytest.raises(UsageError, match=words),
        ):
            destination.wanted([path])


def test_odd_names() -> None:
    """A database may be called as the file of all databases is."""
    assert database_of("/mongodb/h/all%2Ddatabases.archive") == "all-databases"
    assert database_of("/mongodb/h/50%25.archive") == "50%"
    assert database_of("/mongodb/h/all-databases-oplog.archive") is None

"""`limpet backup` beside restic's on the same folders: output, documents, exit codes and the snapshot, flag by flag."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import limpet
import pytest
from limpet import registry
from limpet.format.kdf import KdfParameters, new_salt
from limpet.format.node import Node
from limpet.format.timestamps import Time
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot
from limpet.testing.restic import Restic

pytestmark = pytest.mark.interop

PASSWORD = "beside"
POLYNOMIAL = 0x3DA3358B4DC173
"""Of both repositories: so that they have the same chunks."""
LIMPET = [sys.executable, "-c", "import sys; from limpet.cli.main import main; sys.exit(main())"]
WITHOUT_OVERRIDE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
"""Root reads whatever it likes; without these capabilities it is as anybody else."""
VAGUE = {
    "duration", "total_duration", "data_added", "data_added_packed", "data_size_in_repo", "metadata_size",
    "metadata_size_in_repo", "backup_start", "backup_end", "snapshot_id",
}  # fmt: skip
"""Fields of documents that differ from run to run; their type must be the same all the same."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a backup ended, without what differs from run to run; lines in the order of their text."""

    exit_code: int
    out: Sequence[str]
    err: Sequence[str]
    snapshot: Mapping[str, Any] | None
    nodes: Mapping[bytes, Node]


@dataclass(frozen=True, slots=True)
class Both:
    """Runs one command line with each program, on a repository of its own."""

    restic: Restic
    folder: Path

    def run(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        cwd: str = ".",
        unprivileged: bool = False,
    ) -> tuple[Ended, Ended]:
        """What restic did, and what Limpet did."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "LIMPET_"))}
        ended = []
        for name, program in (("theirs", [str(self.restic.binary)]), ("ours", LIMPET)):
            place = self.folder / name
            before = set(os.listdir(place / "snapshots"))
            done = subprocess.run(
                [*(WITHOUT_OVERRIDE if unprivileged else []), *program, "backup", *map(str, arguments)],
                env={
                    **kept,
                    "RESTIC_REPOSITORY": str(place),
                    "RESTIC_PASSWORD": PASSWORD,
                    "RESTIC_CACHE_DIR": str(self.folder / f"cache-{name}"),
                    **(env or {}),
                },
                input=stdin,
                cwd=self.folder / cwd,
                capture_output=True,
                check=False,
                timeout=120,
            )
            new = set(os.listdir(place / "snapshots")) - before
            assert len(new) <= 1
            snapshot, nodes = self._snapshot(place, *new) if new else (None, {})
            ended.append(Ended(done.returncode, _lines(done.stdout), _lines(done.stderr), snapshot, nodes))
        return ended[0], ended[1]

    def same(self, *arguments: str | Path, **more: Any) -> Ended:
        """The same from both."""
        theirs, ours = self.run(*arguments, **more)
        assert (ours.exit_code, ours.out, ours.err) == (theirs.exit_code, theirs.out, theirs.err), arguments
        assert ours.snapshot == theirs.snapshot, arguments
        assert ours.nodes.keys() == theirs.nodes.keys(), arguments
        for path, node in ours.nodes.items():
            assert node == theirs.nodes[path], arguments
        return ours

    def _snapshot(self, place: Path, name: str) -> tuple[Mapping[str, Any], Mapping[bytes, Node]]:
        with limpet.open_repository(str(place), PASSWORD) as repository:
            stored = next(one for one in limpet.snapshots(repository) if one.id.hex() == name)
            nodes = {path: _comparable(node) for path, node in limpet.list_files(repository, stored)}
        return _described(stored), nodes


def _comparable(node: Node) -> Node:
    """Without devices, which stock restic writes for every node, and without the names that it gives no stream."""
    made = {} if node.inode else {"user": "", "group": "", "links": 0}
    return replace(node, device_id=0, subtree=None, atime=Time(0), **made)  # type: ignore[arg-type]


def _described(stored: StoredSnapshot) -> Mapping[str, Any]:
    snapshot = stored.snapshot
    summary = snapshot.summary
    assert summary is not None
    assert summary.data_added_packed >= 0
    return {
        "paths": snapshot.paths,
        "hostname": snapshot.hostname,
        "username": snapshot.username,
        "ids": (snapshot.uid, snapshot.gid),
        "excludes": snapshot.excludes,
        "tags": snapshot.tags,
        "has parent": snapshot.parent is not None,
        "summary": [
            getattr(summary, name)
            for name in summary.__slots__
            if not name.startswith(("backup_", "data_added", "extra"))
        ],
    }


def _lines(output: bytes) -> list[str]:
    """Lines without what differs from run to run, in the order of their text; no status documents."""
    text = output.decode()
    for pattern, word in (
        (r"\b[0-9a-f]{64}\b", "ID"),
        (r"(snapshot) [0-9a-f]{8}\b", r"\1 ID"),
        (r"\d+\.\d{3}s", "SECONDS"),
        (r"in \d+:\d\d", "in TIME"),
        (r"[\d.]+ [KM]?i?B *(?=[\s,)])", "SIZE"),
        ("LIMPET_|RESTIC_", ""),
    ):
        text = re.sub(pattern, word, text)
    return sorted(line for line in map(_vague, text.splitlines()) if line)


def _vague(line: str) -> str:
    if not line.startswith("{"):
        return line
    document = json.loads(line)
    if document["message_type"] == "status":
        return ""
    for name in VAGUE & document.keys():
        document[name] = "text" if isinstance(document[name], str) else "number"
    return json.dumps(document, sort_keys=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `data`, and beside it lists and patterns."""
    folder = tmp_path_factory.mktemp("beside")
    data = folder / "data"
    for name in ("sub/deep", "cache", "empty", "tagged"):
        (data / name).mkdir(parents=True)
    files = {
        "a.txt": b"hello", "b b.log": b"b", "big.bin": os.urandom(2_000_000), "sub/x.txt": b"x", "sub/deep/Y.TXT": b"y",
        "cache/CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55\n", "cache/c": b"c",
        "tagged/.nobackup": b"", "tagged/t": b"t", "empty/zero": b"", 'quote"d': b"q", "esc\x1b[31m": b"esc",
    }  # fmt: skip
    for name, content in files.items():
        (data / name).write_bytes(content)
    (data / "link").symlink_to("a.txt")
    os.link(data / "a.txt", data / "hard")
    os.mkfifo(data / "fifo")
    (folder / "patterns").write_text("# comment\n\n  *.log\n$PLACE/x.txt\n$$x\n!sub\n")
    (folder / "list").write_text("data/*.txt\n# comment\n nomatch* \ndata/sub\n\n")
    (folder / "raw").write_bytes(b"data/a.txt\0data/sub\0")
    return folder


@pytest.fixture
def both(data: Path, restic_new: Restic) -> Both:
    """Both programs, each with an empty repository."""
    for name in ("ours", "theirs"):
        shutil.rmtree(data / name, ignore_errors=True)
        kdf = KdfParameters(2, 1, 1, new_salt())
        backend = registry.open_backend(str(data / name))
        Repository.create(backend, PASSWORD, polynomial=POLYNOMIAL, kdf=kdf).close()
    return Both(restic_new, data)


SERIES: dict[str, Sequence[Sequence[str]]] = {
    "plain, again and forced": [
        ["data"], ["data", "-v"], ["data", "-vv"], ["data", "-vv", "--force"], ["data", "-q"],
    ],
    "documents": [
        ["data", "--json", "-v"], ["data", "--json", "-vv"], ["data", "--json", "-f"], ["data", "--json", "--quiet"],
    ],
    "excludes": [
        ["data", "-vv", "-e", "*.log", "--iexclude", "*.txt", "--exclude-caches", "--exclude-if-present", ".nobackup"],
        ["data", "--json", "-v", "-e", "*.log", "-e", "!b b.log"],
        ["data", "--exclude-larger-than", "1M", "-vv"],
        ["data", "--exclude-larger-than", "4"],
        ["data", "--exclude-file", "patterns", "--iexclude-file", "patterns"],
        ["data", "--exclude-if-present", "CACHEDIR.TAG:Sig", "--exclude-if-present", ".nobackup:x"],
        ["data", "-x"],
        ["data/big.bin", "-e", "*.bin"],
    ],
    "lists": [
        ["--files-from", "list", "data/empty"], ["--files-from-verbatim", "list"], ["--files-from-raw", "raw"],
        ["--files-from", "list", "--files-from-raw", "raw", "-v"],
    ],
    "missing targets": [["gone"], ["gone", "data"], ["gone", "data", "--json"], []],
    "names": [
        ["data", "--tag", "a,b", "--tag", "c", "--host", "h1", "--time", "2020-01-02 03:04:05"],
        ["data", "--host", "h1", "--time", "2020-01-02 03:04:04"],
        ["data", "--host", "h1", "--time", "2020-01-02 03:04:06", "--skip-if-unchanged"],
        ["data", "--host", "h1", "--json", "--skip-if-unchanged"],
        ["data", "--hostname", "h2"],
        ["data", "-g", "tags", "--tag", "a,b,c"],
        ["data", "-g", "", "--parent", "latest"],
        ["data", "--tag", ""],
    ],
    "dry runs": [["data", "-n", "-vv"], ["data", "--dry-run", "--json", "-v"], ["data"], ["data", "-n"]],
    "comparing": [
        ["data", "--with-atime", "-v"], ["data", "--ignore-ctime", "-v"], ["data", "--ignore-inode", "-vv"],
        ["data", "--no-scan", "--read-concurrency", "3", "-v"], ["data", "--read-concurrency", "0"],
    ],
    "targets": [["data/sub", "data/sub/deep", "data/./empty/", "data/link"], ["data/sub", "-vv"], ["data/fifo"]],
    "streams": [
        ["--stdin", "--time", "2021-02-03 04:05:06"],
        ["--stdin", "--stdin-filename", "a/b/c.txt", "-vv", "--time", "2021-02-03 04:05:06"],
        ["--stdin", "--json", "-v", "--time", "2021-02-03 04:05:06"],
        ["--stdin", "data"],
        ["--stdin", "--files-from", "list"],
    ],
}  # fmt: skip


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES.keys())
def test_series(both: Both, series: Sequence[Sequence[str]]) -> None:
    """Scripts and wrappers made for restic would break, and snapshots of both would not belong together."""
    for arguments in series:
        both.same(*arguments, stdin=b"piped in", env={"PLACE": "sub"})


def test_changes(both: Both, data: Path) -> None:
    """What was new, changed, unmodified or of another kind is counted as restic counts."""
    work = data / "work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "sub").mkdir(parents=True)
    for name in ("same", "grows", "mode", "becomes folder", "goes", "sub/s"):
        (work / name).write_text(name)
    (work / "becomes file").mkdir()
    both.same("work", "-vv")
    (work / "grows").write_text("grown")
    (work / "mode").chmod(0o600)
    (work / "new").write_text("new")
    (work / "goes").unlink()
    (work / "becomes folder").unlink()
    (work / "becomes folder").mkdir()
    (work / "becomes folder/x").write_text("x")
    (work / "becomes file").rmdir()
    (work / "becomes file").write_text("file")
    (work / "sub").chmod(0o700)
    both.same("work", "-vv")
    both.same("work", "--json", "-v")
    os.utime(work / "same", ns=(1, 2))
    both.same("work", "--json", "-v")


def test_working_folder(both: Both) -> None:
    """Relative targets end up in the same places of the snapshot."""
    for arguments in (["."], ["..", "-e", "ours", "-e", "theirs", "-e", "cache-*"], ["../data/sub", "sub/../empty"]):
        both.same(*arguments, cwd="data/sub/..")


REFUSED = [
    ["data", "--exclude-file", "gone"], ["data", "--exclude", "[ab"], ["data", "--time", "2020-01-02"],
    ["data", "--parent", "deadbeef"], ["data", "-g", "nonsense"], ["--files-from", "gone"],
    ["--files-from-raw", "list"],
    ["data", "--read-concurrency", "x"], ["data", "--exclude-larger-than", "x"], ["data", "--nonsense"],
    ["--stdin", "--stdin-filename", ""], ["--stdin-from-command"], ["--stdin-from-command", "--", "no-such-program"],
    ["--stdin-from-command", "--", "sh", "-c", "echo x; exit 3"],
]  # fmt: skip


def test_refusals(both: Both) -> None:
    """What restic refuses must not become a snapshot of something else."""
    for arguments in REFUSED:
        theirs, ours = both.run(*arguments)
        assert (ours.exit_code, ours.snapshot) == (theirs.exit_code, theirs.snapshot) == (1, None), arguments
        assert ours.err
    theirs, ours = both.run("data", env={"RESTIC_READ_CONCURRENCY": "x"})
    assert (ours.exit_code, theirs.exit_code) == (1, 1)
    assert "invalid value for READ_CONCURRENCY" in ours.err[0]


def test_environment(both: Both) -> None:
    """Set in a service's file once, and forgotten there."""
    env = {"RESTIC_HOST": "named", "RESTIC_IGNORE_CTIME": "true", "RESTIC_READ_CONCURRENCY": "4"}
    ended = both.same("data", env=env)
    assert ended.snapshot is not None
    assert ended.snapshot["hostname"] == "named"


def test_empty_stream(both: Both) -> None:
    """A command that writes nothing is no backup (restic issue 2135): exit code 3, and no file."""
    for arguments in (["--stdin"], ["--stdin-from-command", "--", "true"]):
        theirs, ours = both.run(*arguments)
        assert (ours.exit_code, theirs.exit_code) == (3, 3)
        assert ours.nodes == theirs.nodes == {}
        assert "no data read" in ours.err[1]


def test_unreadable(both: Both, data: Path) -> None:
    """One file that may not be read must not keep the others from being saved, nor go unnoticed."""
    shut = data / "shut"
    shutil.rmtree(shut, ignore_errors=True)
    for folder in ("closed", "unlisted", "open"):
        (shut / folder).mkdir(parents=True)
        (shut / folder / "f").write_text("f")
    (shut / "small").write_text("secret")
    (shut / "large").write_bytes(os.urandom(900_000))
    for name, mode in {"small": 0, "large": 0, "closed": 0, "unlisted": 0o444}.items():
        (shut / name).chmod(mode)
    try:
        for arguments in (["shut"], ["shut", "-vv"], ["shut/closed"], ["shut/small"]):
            theirs, ours = both.run(*arguments, unprivileged=True)
            assert replace(ours, err=()) == replace(theirs, err=())
            assert ours.exit_code == 3
            assert len(ours.err) == len(theirs.err)
            assert [line.partition(":")[0] for line in ours.err] == [line.partition(":")[0] for line in theirs.err]
        theirs, ours = both.run("shut", "--json", "-v", unprivileged=True)
        assert replace(ours, err=()) == replace(theirs, err=())
        told = [[json.loads(line) for line in ended.err] for ended in (theirs, ours)]
        for documents in told:
            documents.sort(key=lambda one: (one["message_type"], one.get("during"), Path(one.get("item", "")).name))
        for theirs_one, ours_one in zip(*told, strict=True):
            assert ours_one.keys() == theirs_one.keys()
            assert ours_one.get("during") == theirs_one.get("during")
            assert Path(ours_one.get("item", "x")).name == Path(theirs_one.get("item", "x")).name
        items = {one["item"] for one in told[1] if one.get("during") == "archival"}
        assert items == {str(shut / name) for name in ("small", "large", "closed", "unlisted/f")}
    finally:
        for folder in ("closed", "unlisted"):
            (shut / folder).chmod(0o755)


def test_own_cache_is_left_out(both: Both, data: Path) -> None:
    """The cache of a home folder would go into each of its backups, and change with each."""
    both.same("data")
    for name in ("theirs", "ours"):
        assert (data / f"cache-{name}").is_dir()
    ended = both.same(
        ".", "-e", "theirs", "-e", "ours", "-e", "cache-*", env={"RESTIC_CACHE_DIR": str(data / "cache [own]")}
    )
    assert b"/cache [own]" not in ended.nodes
    assert b"/data" in ended.nodes


def test_several_sources(both: Both, data: Path) -> None:
    """What restic cannot: files and the output of commands in one snapshot; a command that fails takes it along."""
    command = ["data/sub", "command:dumps/db.sql=echo shop"]
    done = both.run(*command)[1]
    assert done.exit_code == 0, done.err
    assert done.snapshot is not None
    assert sorted(done.snapshot["paths"]) == sorted([str(data / "data/sub"), "/dumps/db.sql"])
    assert {b"/data/sub/x.txt", b"/dumps/db.sql"} <= done.nodes.keys()
    failed = both.run("data/sub", "command:dumps/db.sql=false")[1]
    assert (failed.exit_code, failed.snapshot) == (1, None)

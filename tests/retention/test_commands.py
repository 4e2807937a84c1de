"""forget, tag, describe and protect beside real restic: the same words and documents, and snapshots that it can use."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import limpet
import pytest
from limpet.cli.main import main
from limpet.contracts.backend import FileKind
from limpet.format.kdf import KdfParameters
from limpet.format.snapshot import Snapshot, SnapshotSummary, encode_snapshot
from limpet.format.timestamps import Time, parse_time
from limpet.testing.restic import Restic

PASSWORD = "retained"
CHEAP = KdfParameters(n=2, r=1, p=1, salt=bytes(64))
LIMPET = [sys.executable, "-m", "limpet.cli.main"]
HEX = re.compile(r"\b[0-9a-f]{64}\b")
SNAPSHOTS = [
    ("2024-01-01T10:00:00Z", "h1", ["/b", "/a"], ["old", "x"]),
    ("2024-02-01T10:00:00.123456789Z", "h1", ["/a", "/b"], []),
    ("2024-02-02T10:00:00+05:00", "h1", ["/a", "/b"], ["x"]),
    ("2024-03-01T11:00:00Z", "h1", ["/a", "/b"], ["ü", "x"]),
]
OTHER = ("2024-03-01T10:00:00Z", "a host with a long name", ["/a"], ["a tag with a long name", "old"])

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it wrote."""

    exit_code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        """The JSON documents on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class Pair:
    """Runs a command with both programs, each on its own copy of the same repository."""

    restic: Restic
    folder: Path
    capture: pytest.CaptureFixture[str]

    def both(self, *arguments: str) -> tuple[Ended, Ended]:
        """restic's end, and ours."""
        copies = [self.folder / name for name in ("by-restic", "by-limpet")]
        for copy in copies:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.folder / "repository", copy)
        return self.of_restic(*arguments, repo=copies[0]), self.of_limpet(*arguments, repo=copies[1])

    def of_restic(self, *arguments: str, repo: Path | None = None) -> Ended:
        """With restic."""
        repo = repo or self.folder / "repository"
        done = self.restic.run(*arguments, repo=repo, password=PASSWORD, check=False)
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def of_limpet(self, *arguments: str, repo: Path | None = None) -> Ended:
        """With Limpet, in this process."""
        self.capture.readouterr()
        exit_code = main(["--no-cache", "-r", str(repo or self.folder / "repository"), *arguments])
        out, err = self.capture.readouterr()
        return Ended(exit_code, out, err)

    def snapshots(self, name: str = "repository") -> list[dict[str, Any]]:
        """What is stored, oldest first."""
        with limpet.open_repository(str(self.folder / name), PASSWORD) as repository:
            stored = limpet.snapshots(repository)
        return [json.loads(encode_snapshot(one.snapshot)) | {"id": one.id.hex()} for one in stored]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with `SNAPSHOTS` and `OTHER` of one file."""
    folder = tmp_path_factory.mktemp("retention")
    (folder / "file").write_text("content")
    with limpet.create_repository(str(folder / "repository"), PASSWORD, kdf=CHEAP) as repository:
        made = limpet.backup(repository, [folder / "file"]).snapshot
        assert made is not None
        repository.remove_unpacked(FileKind.SNAPSHOT, made.id)
        for time, host, paths, tags in [*SNAPSHOTS, OTHER]:
            snapshot = Snapshot(parse_time(time), made.snapshot.tree, paths, hostname=host, tags=tags, username="anna")
            if tags:
                snapshot.summary = SnapshotSummary(Time(0, 0), Time(1, 0), total_bytes_processed=7 << len(tags) * 10)
            repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))
    for empty in (folder / "repository/data").iterdir():
        with suppress(OSError):
            empty.rmdir()  # 256 folders would be copied for each test
    return folder / "repository"


@pytest.fixture
def pair(
    restic_new: Restic,
    template: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Pair:
    """Both programs, and a repository to spoil."""
    for name in list(os.environ):
        if name.startswith("RESTIC_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    shutil.copytree(template, tmp_path / "repository")
    return Pair(restic_new, tmp_path, capfd)


SAME = [
    "forget --host h1 --keep-last 2 --keep-tag old --keep-within-daily 1m",
    "forget --host h1 --keep-last 2 --compact -v",
    "forget --host h1 --keep-last 2 --json",
    "forget --host h1 --keep-last 2 --keep-weekly unlimited --dry-run -v -g tags",
    "forget --host h1 --keep-daily 1 --group-by= -vv --dry-run",
    "forget --host h1 --keep-daily 1 --quiet",
    "forget --host h1 --keep-last 1 --json --dry-run --no-lock --group-by tags,host --tag x",
    "forget --host h1 --keep-tag nobody",
    "forget --host h1 --keep-tag nobody --json",
    "forget --host nobody --keep-last 1",
    "forget --host nobody --keep-last 1 --json",
    "forget --host h1 --unsafe-allow-remove-all",
    "forget --host h1 --unsafe-allow-remove-all --json",
    "forget --hostname h1 --keep-last 1",
    "forget --unsafe-allow-remove-all",
    "forget",
    "forget --no-lock --keep-last 1",
    "forget --host h1 --keep-last 1 --prune",
    "forget --host h1 --keep-last 1 --prune --dry-run -vv",
    "forget --host h1 --keep-last 1 --prune --max-unused 100%",
    "forget latest --prune --repack-small --repack-smaller-than 1M",
    "forget --keep-within -5d",
    "forget latest -vv",
    "forget latest latest --json",
    "forget nosuch latest --host h1 --dry-run",
    "forget nosuch --host h1",
    "forget latest --host nobody",
    "tag",
    "tag --set a --add b",
    "tag --add b nosuch",
    "tag --add x --tag x",
    "tag --set= --host h1",
    "tag --remove nobody --json",
    "snapshots --last",
]


@pytest.mark.parametrize("line", SAME)
def test_same_words(pair: Pair, line: str) -> None:
    """A script that reads restic's output, or its exit code, would break with Limpet."""
    restic, ours = pair.both(*line.split())
    if "--group-by tags" in line or "-g tags" in line:  # restic's groups come in any order
        restic, ours = (Ended(one.exit_code, "".join(sorted(one.out)), one.err) for one in (restic, ours))
    assert ours == restic
    assert pair.snapshots("by-limpet") == pair.snapshots("by-restic")


@pytest.mark.parametrize("number", ["-1", "x", "", "1.5", "99999999999999999999", "unlimite"])
def test_same_numbers_are_refused(pair: Pair, number: str) -> None:
    """A digit too many must not become a policy that nobody meant."""
    restic, ours = pair.both("forget", f"--keep-last={number}")
    assert ours.exit_code == restic.exit_code == 1
    reason = restic.err.partition("flag: ")[2].strip()
    assert reason
    assert reason in ours.err


def test_pruning_adds_nothing_to_the_document(pair: Pair) -> None:
    """Programs read what `forget --prune --json` writes as one document."""
    restic, ours = pair.both("forget", "--host", "h1", "--keep-last", "1", "--prune", "--json")
    assert ours.out.splitlines() == restic.out.splitlines()[:1]  # without a cache restic adds a warning
    assert (ours.exit_code, ours.err) == (restic.exit_code, restic.err)


@pytest.mark.parametrize(
    "line",
    [
        "tag --add new,x --host h1 --json",
        "tag --add new --remove old,x -v",
        "tag --set a,b --set c --tag old",
        "tag --remove x latest --json",
    ],
)
def test_same_tags(pair: Pair, line: str) -> None:
    """Every snapshot that restic changes is changed in the same way, and `original` leads back to the first."""
    before = {one["id"]: one for one in pair.snapshots()}
    restic, ours = pair.both(*line.split())
    assert [sorted(HEX.sub("ID", one.out).splitlines()) for one in (ours, restic)] == [
        sorted(HEX.sub("ID", restic.out).splitlines())
    ] * 2
    assert (ours.exit_code, ours.err) == (restic.exit_code, restic.err)
    assert told_changes(ours) == told_changes(ours) & before.keys()
    both = [[without_id(one) for one in pair.snapshots(name)] for name in ("by-limpet", "by-restic")]
    assert both[0] == both[1]
    changed = [one["original"] for one in both[0] if "original" in one]
    assert changed
    assert set(changed) <= before.keys()


def told_changes(ended: Ended) -> set[str]:
    """The ids of the snapshots that were replaced, as told."""
    if ended.out.startswith("{"):
        return {one["old_snapshot_id"] for one in ended.documents if one["message_type"] == "changed"}
    return set(HEX.findall(ended.out)[::2])


def without_id(document: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without what is new each time."""
    return {key: value for key, value in document.items() if key != "id"}


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_snapshot_that_cannot_be_removed(pair: Pair, as_json: Sequence[str]) -> None:
    """Exit code 3 is how a cron job learns of it."""
    folder = pair.folder / "repository/snapshots"
    environment = {"RESTIC_REPOSITORY": str(folder.parent), "RESTIC_PASSWORD": PASSWORD, "PATH": os.environ["PATH"]}
    # root without the right to pass over permissions
    powerless = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    folder.chmod(0o555)
    restic, ours = (
        subprocess.run(
            [*powerless, *program, "--no-cache", "forget", "latest", *as_json],
            env=environment, capture_output=True, text=True, check=False,
        )
        for program in ([str(pair.restic.binary)], LIMPET)
    )  # fmt: skip
    folder.chmod(0o755)
    assert (ours.returncode, ours.stdout) == (restic.returncode, restic.stdout)
    assert restic.returncode == 3
    assert "failed to remove one or more snapshots" in ours.stderr  # and restic shows where in its source
    assert "failed to remove one or more snapshots" in restic.stderr
    assert f"unable to remove snapshot/{pair.snapshots()[-1]['id']} from the repository" in ours.stderr
    assert len(pair.snapshots()) == len([*SNAPSHOTS, OTHER])


# -- beyond restic ---------------------------------------------------------------------------------------------------


def test_restic_uses_a_described_and_protected_snapshot(
    pair: Pair, restic_any: Restic, tmp_path: Path, template: Path
) -> None:
    """What we add must not take the snapshot away from restic: it reads, checks, tags, copies and restores it."""
    described = pair.of_limpet("describe", "latest", "before the move <&> ü")
    assert (described.exit_code, described.out) == (0, "modified 1 snapshots\n")
    assert pair.of_limpet("protect", "latest", "--until", "2099-01-01").exit_code == 0
    (shown,) = pair.of_limpet("snapshots", "latest", "--json").documents[0]
    assert shown["description"] == "before the move <&> ü"
    assert set(shown["delete"]) == {"After"}

    repository = tmp_path / "repository"
    (seen,) = restic_any.json("snapshots", "latest", repo=repository, password=PASSWORD)
    assert seen["id"] == shown["id"]
    restic_any.run("check", "--read-data", repo=repository, password=PASSWORD)
    restic_any.run("restore", "latest", "--target", tmp_path / "restored", repo=repository, password=PASSWORD)
    assert list((tmp_path / "restored").rglob("file"))
    limpet.create_repository(str(tmp_path / "copy"), PASSWORD, kdf=CHEAP).close()
    restic_any.run(
        *("copy", "--from-repo", repository, "latest"), repo=tmp_path / "copy", password=PASSWORD,
        env={"RESTIC_FROM_PASSWORD": PASSWORD},
    )  # fmt: skip
    restic_any.run("check", "--read-data", repo=tmp_path / "copy", password=PASSWORD)
    restic_any.run("tag", "--add", "seen", "latest", repo=repository, password=PASSWORD)
    (tagged,) = pair.of_limpet("snapshots", "latest", "--json").documents[0]
    assert "seen" in tagged["tags"]
    assert tagged["original"] == shown["original"]


def test_protected_snapshots_are_not_forgotten(pair: Pair) -> None:
    """Neither by a policy nor by name, and one is told why; the others go."""
    ids = [one["id"] for one in pair.snapshots() if one["hostname"] == "h1"]
    protected = pair.of_limpet("protect", ids[0], "--json").documents[0]["new_snapshot_id"]
    ended = pair.of_limpet("forget", "--host", "h1", "--keep-last", "1", "--json")
    assert ended.exit_code == 0
    reasons = [(one["snapshot"]["id"], one["matches"]) for one in ended.documents[0][0]["reasons"]]
    assert reasons == [(ids[-1], ["last snapshot"]), (protected, ["protected"])]

    ended = pair.of_limpet("forget", ids[-1], protected[:8])
    assert ended.exit_code == 3
    assert ended.err == (
        f"snapshot {protected[:8]} is protected and stays; `limpet unprotect` ends that\n"
        "failed to remove one or more snapshots\n"
    )
    assert [one["id"] for one in pair.snapshots() if one["hostname"] == "h1"] == [protected]

    assert pair.of_limpet("unprotect", protected).exit_code == 0
    assert pair.of_limpet("forget", "latest", "--host", "h1").exit_code == 0
    assert [one["hostname"] for one in pair.snapshots()] == [OTHER[1]]


def test_a_backup_describes_and_protects(pair: Pair, tmp_path: Path) -> None:
    """Afterwards it may be too late: the next forget may come before the person does."""
    (tmp_path / "new").write_text("new")
    target = str(tmp_path / "new")
    ended = pair.of_limpet("backup", target, "--description", "by hand", "--protect-for", "1y", "--host", "h2")
    assert ended.exit_code == 0
    (stored,) = pair.of_limpet("snapshots", "--host", "h2", "--json").documents[0]
    assert stored["description"] == "by hand"
    assert set(stored["delete"]) == {"After"}
    assert pair.of_limpet("backup", target, "--protect", "--protect-for", "1d").exit_code == 1
    assert pair.of_limpet("backup", target, "--protect", "--host", "h3").exit_code == 0
    assert pair.of_limpet("forget", "--host", "h3", "--unsafe-allow-remove-all").exit_code == 0
    assert [one["hostname"] for one in pair.snapshots()][-2:] == ["h2", "h3"]
    assert pair.of_restic("check").exit_code == 0


def test_the_default_table_is_restics(pair: Pair) -> None:
    """Wrappers cut the table at its columns: what is new is shown with --long alone."""
    assert pair.of_limpet("describe", "latest", "new").exit_code == 0
    plain, detailed = pair.of_limpet("snapshots"), pair.of_limpet("snapshots", "--long")
    assert plain.out == pair.of_restic("snapshots").out
    assert detailed.out.splitlines()[0].split() == [
        *("ID", "Time", "Host", "Tags", "Paths", "Files", "Size", "Added", "Stored", "Protected", "Description")
    ]
    assert re.search(r" 7\.000 MiB +0 B +0 B +new$", detailed.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("protect latest --until yesterday", "invalid time 'yesterday'"),
        ("protect latest --until 2001-01-01", "a time that is over"),
        ("protect latest --until 2099-01-01 --for 1y", "either always, or for a time"),
        ("protect latest --for 1w", "invalid unit 'w'"),
        ("protect nosuch", "nosuch"),
        ("describe nosuch text", "nosuch"),
        ("describe latest:/a text", "syntax not allowed"),
        ("unprotect nosuch", "nosuch"),
    ],
)
def test_what_cannot_be_done(pair: Pair, line: str, words: str) -> None:
    """One line says what is wrong, and nothing is changed."""
    before = pair.snapshots()
    ended = pair.of_limpet(*line.split())
    assert ended.exit_code == 1
    assert words in ended.err
    assert pair.snapshots() == before

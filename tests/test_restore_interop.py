"""What a real restic backed up comes back bit by bit, and every flag does what restic's own restore does.

The trees are compared by this file's own walker: status, attributes, link targets, holes and the hash of every content.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from limpet.testing.restic import Restic

from tests.trees import facts, make_tree

pytestmark = pytest.mark.interop

PASSWORD = "interop"
LIMPET = [sys.executable, "-c", "import sys; from limpet.cli.main import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tree, made once."""
    root = tmp_path_factory.mktemp("interop") / "tree"
    make_tree(root)
    yield root
    for folder in ("locked", "locked/inner"):
        os.chmod(root / folder, 0o755)


@pytest.fixture(scope="module")
def repo(tree: Path, restic_new: Restic) -> Path:
    """A repository of restic 0.19 with one snapshot of the tree."""
    return make_repo(restic_new, tree, tree.parent / "repo")


def make_repo(restic: Restic, tree: Path, repo: Path, *init: str) -> Path:
    """A repository with one snapshot of the tree."""
    restic.run("init", *init, repo=repo, password=PASSWORD)
    restic.run("backup", tree, repo=repo, password=PASSWORD)
    return repo


def limpet(*arguments: str | Path, repo: Path, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """The finished command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "LIMPET_"))}
    done = subprocess.run(
        [*LIMPET, "--no-cache", *arguments],
        env={**environment, "RESTIC_REPOSITORY": str(repo), "RESTIC_PASSWORD": PASSWORD},
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert not check or done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done


@pytest.mark.parametrize("version", ["1", "2"])
def test_fidelity(restic_any: Restic, tree: Path, tmp_path: Path, version: str) -> None:
    """Whatever comes back different from what was saved is lost."""
    repo = make_repo(restic_any, tree, tmp_path / "repo", "--repository-version", version)
    target = tmp_path / "target"
    limpet("restore", f"latest:{tree}", "--target", target, "--verify", repo=repo)
    expected = facts(tree)
    if restic_any.version().startswith("0.14"):  # saves neither attributes of symlinks nor targets that are not UTF-8
        for name, position, saved in ((b"/link", 4, ()), (b"/dangling", 5, "nowhere\ufffd".encode())):
            expected[name] = (*expected[name][:position], saved, *expected[name][position + 1 :])
    assert facts(target) == expected
    limpet("restore", "latest", "--target", tmp_path / "whole", "--sparse", repo=repo)
    below = tmp_path / "whole" / tree.relative_to("/")
    assert facts(below) == expected
    assert os.stat(below / "sparse").st_blocks * 512 < 200_000


FLAGS = [
    [],
    ["--overwrite", "if-changed"],
    ["--overwrite", "if-newer"],
    ["--overwrite", "never"],
    ["--overwrite=always", "--delete"],
    ["--dry-run", "--delete"],
    ["--include", "/many/2*", "--delete"],
    ["--include", "many", "--include", "dir/**/a"],
    ["--exclude", "many", "-e", "*.txt", "--delete"],
    ["--iinclude", "/LARGE", "--iinclude", "/H*"],
    ["--iexclude", "HELLO"],
    ["--exclude-file", "PATTERNS"],
    ["--iexclude-file", "PATTERNS"],
    ["--include-file", "PATTERNS"],
    ["--iinclude-file", "PATTERNS"],
    ["--include-xattr", "user.*"],
    ["--exclude-xattr", "user.n*", "--exclude-xattr", "system.*"],
    ["--sparse", "--verify"],
    ["--ownership-by-name"],
]


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
def test_every_flag_does_what_restics_does(
    restic_new: Restic, tree: Path, repo: Path, tmp_path: Path, flags: list[str]
) -> None:
    """A script that was written for restic must leave the same files and read the same figures."""
    patterns = tmp_path / "patterns"
    patterns.write_text("# of many\n/many/1*\n\n  Hello  \n")
    flags = [str(patterns) if flag == "PATTERNS" else flag for flag in flags]
    outcomes = []
    for name in ("restic", "limpet"):
        target = tmp_path / name
        _half_restored(tree, target)
        arguments = ["--json", "-vv", "restore", f"latest:{tree}", "--target", str(target), *flags]
        if name == "restic":
            done = restic_new.run(*arguments, repo=repo, password=PASSWORD)
        else:
            done = limpet(*arguments, repo=repo)
        found = facts(target)
        for entry in (b"/extra", b"/extra/file", b"/extra.txt"):  # their times are those of this test
            if entry in found:
                found[entry] = found[entry][:3]
        outcomes.append((found, _documents(done.stdout, target)))
    assert outcomes[1][0] == outcomes[0][0]
    assert outcomes[1][1] == outcomes[0][1]


def _half_restored(tree: Path, target: Path) -> None:
    """A target with right, wrong, missing, newer and surplus files."""
    subprocess.run(["cp", "-a", tree, target], check=True)
    (target / "hello").unlink()
    for i in range(100, 200):
        (target / "many" / str(i)).unlink()
    (target / "extra").mkdir()
    (target / "extra/file").touch()
    (target / "extra.txt").touch()
    with open(target / "large", "r+b") as file:
        file.seek(2_000_000)
        file.write(b"damage")
    (target / "twice").write_bytes(b"another")
    long_ago, far_ahead = 1_000_000_000, 4_000_000_000
    os.utime(target / "twice", (long_ago, long_ago))
    os.utime(target / "large", (far_ahead, far_ahead))
    os.utime(target / "mode 2755", (far_ahead, far_ahead))
    (target / "link").unlink()
    (target / "link").symlink_to("elsewhere")
    os.utime(target / "link", (far_ahead, far_ahead), follow_symlinks=False)
    os.setxattr(target / "many/5", "user.surplus", b"x")
    for folder in (".", "many"):
        os.utime(target / folder, (long_ago, long_ago))


def _documents(printed: bytes, target: Path) -> list[str]:
    """The items and the summary, without what differs from run to run."""
    documents = []
    for line in printed.splitlines():
        document: dict[str, Any] = json.loads(line)
        if document["message_type"] == "status":
            continue
        document.pop("seconds_elapsed", None)
        documents.append(json.dumps(document, sort_keys=True).replace(str(target), "TARGET"))
    return sorted(documents)


def test_text_is_restics(restic_new: Restic, tree: Path, repo: Path, tmp_path: Path) -> None:
    """People and log parsers look for these lines."""
    target = tmp_path / "target"
    printed: list[list[bytes]] = []
    for _ in ("restic", "limpet"):
        # Names that are not plain are quoted by us, but for a backup alone by restic.
        arguments = ["restore", f"latest:{tree}", "--target", str(target), "--exclude", "n*", "-vv"]
        if not printed:
            done = restic_new.run(*arguments, repo=repo, password=PASSWORD)
        else:
            done = limpet(*arguments, repo=repo)
        printed.append(sorted(line for line in done.stdout.splitlines() if b"repository" not in line))
        subprocess.run(["rm", "-rf", target], check=True)
    theirs, ours = ([line.split(b" in 0:")[0] for line in lines] for lines in printed)
    assert ours == theirs


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["latest"], 1, "please specify a directory to restore to (--target)"),
        (["--target", "x"], 1, "no snapshot ID specified"),
        (["a", "b", "--target", "x"], 1, "more than one snapshot ID specified"),
        (["latest", "--target", "x", "--include", "a", "--exclude", "b"], 1, "mutually exclusive"),
        (["latest", "--target", "x", "--include-xattr", "a", "--exclude-xattr", "b"], 1, "mutually exclusive"),
        (["latest", "--target", "x", "--dry-run", "--verify"], 1, "mutually exclusive"),
        (["latest", "--target", "/", "--delete"], 1, "must be combined with an include or exclude filter"),
        (["latest", "--target", "x", "--overwrite", "maybe"], 1, "invalid overwrite behavior"),
        (["latest", "--target", "x", "--include", "[a"], 1, "--include"),
        (["latest", "--target", "x", "--host", "nobody"], 1, "snapshot"),
        (["00000000", "--target", "x"], 1, "snapshot"),
        (["latest:/no/such/folder", "--target", "x"], 1, "not found"),
        (["latest", "--target", "/dev/null/x"], 1, "target directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(repo: Path, arguments: list[str], code: int, message: str) -> None:
    """A mistake has to be said in one line, before anything is done."""
    done = limpet("restore", *arguments, repo=repo, check=False)
    assert done.returncode == code
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_damage_is_told_as_restic_tells_it(restic_new: Restic, tree: Path, tmp_path: Path) -> None:
    """A script sees by the exit code, and reads in the documents, that files are lost."""
    repo = make_repo(restic_new, tree, tmp_path / "repo")
    packs = [path for path in (repo / "data").rglob("*") if path.is_file()]
    for pack in packs:
        stored = pack.read_bytes()
        if len(stored) > 1_000_000:
            os.chmod(pack, 0o600)
            pack.write_bytes(stored[:500_000] + b"\0" + stored[500_001:])
    done = limpet("--json", "restore", f"latest:{tree}", "--target", tmp_path / "target", repo=repo, check=False)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    errors = [line for line in lines if line["message_type"] == "error"]
    assert done.returncode == 1
    assert errors
    assert {line["during"] for line in errors} == {"restore"}
    assert lines[-1]["message_type"] == "exit_error"
    assert "errors" in lines[-1]["message"]
    theirs = restic_new.run(
        "--json", "restore", f"latest:{tree}", "--target", tmp_path / "t", repo=repo, password=PASSWORD, check=False
    )
    their_lines = [json.loads(line) for line in theirs.stderr.splitlines()]
    assert {line["item"] for line in errors} == {
        line["item"] for line in their_lines if line["message_type"] == "error"
    }
    restored, expected = facts(tmp_path / "target"), facts(tree)
    lost = {os.fsencode(line["item"]) for line in errors}
    assert {path: entry for path, entry in restored.items() if path not in lost} == {
        path: entry for path, entry in expected.items() if path not in lost
    }


def test_ctrl_c(tree: Path, restic_new: Restic, tmp_path: Path) -> None:
    """A person who interrupts must get the prompt back, find no lock left behind, and be able to go on later."""
    source = tmp_path / "source"
    source.mkdir()
    for i in range(60):
        (source / f"{i}").write_bytes(os.urandom(4_000_000))
    repo = make_repo(restic_new, source, tmp_path / "repo")
    target = tmp_path / "target"
    command = [*LIMPET, "--no-cache", "--limit-download", "20000"]
    process = subprocess.Popen(
        [*command, "restore", f"latest:{source}", "--target", target],
        env={**os.environ, "RESTIC_REPOSITORY": str(repo), "RESTIC_PASSWORD": PASSWORD},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (target.exists() and any(target.iterdir())):
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert list((repo / "locks").iterdir()) == []
    assert limpet("restore", f"latest:{source}", "--target", target, repo=repo).returncode == 0
    assert facts(target) == facts(source)

"""`limpet check` beside `restic check`: repositories of real restics, the same words, documents and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from limpet import create_repository
from limpet.cli.main import main
from limpet.format.kdf import KdfParameters
from limpet.testing.restic import Restic

PASSWORD = "checked"
CHEAP = KdfParameters(n=2, r=1, p=1, salt=bytes(64))
LIMPET = [sys.executable, "-c", "import sys; from limpet.cli.main import main; sys.exit(main())"]

pytestmark = pytest.mark.interop


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended and what it wrote."""

    exit_code: int
    out: str
    err: str


Check = Callable[..., Ended]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Check:
    """Runs `limpet check` in this process."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)

    def run(repository: Path, *arguments: str) -> Ended:
        capfdbinary.readouterr()
        exit_code = main(["--no-cache", "-r", str(repository), "check", *arguments])
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(exit_code, out.decode(), err.decode())

    return run


def _make(restic: Restic, folder: Path, version: int = 2) -> Path:
    """A repository with two snapshots of restic's; its key is a cheap one, so that opening takes no time."""
    source, repository = folder / "source", folder / "repository"
    (source / "sub").mkdir(parents=True)
    (source / "random").write_bytes(os.urandom(3_000_000))
    (source / "sub/text").write_text("text " * 10_000)
    create_repository(str(repository), PASSWORD, version=version, kdf=CHEAP).close()
    restic.run("backup", source, repo=repository, password=PASSWORD)
    (source / "more").write_bytes(os.urandom(1_000_000))
    restic.run("backup", "--tag", "second", source, repo=repository, password=PASSWORD)
    return repository


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("arguments", [[], ["--read-data"], ["--read-data-subset=1/2"], ["--read-data-subset", "50%"]])
def test_sound(restic_any: Restic, check: Check, tmp_path: Path, version: int, arguments: list[str]) -> None:
    """What real restic wrote is sound."""
    repository = _make(restic_any, tmp_path, version)
    ended = check(repository, *arguments)
    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.endswith("no errors were found\n")


def _summary(text: bytes | str) -> Any:
    return json.loads(text.splitlines()[-1])


def _pack_sizes(repository: Path) -> list[Path]:
    packs = [path for path in repository.glob("data/*/*") if path.is_file()]
    return sorted(packs, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("damage", ["none", "removed", "cut", "flipped", "superfluous"])
@pytest.mark.parametrize("arguments", [[], ["--read-data"]])
def test_documents(restic_new: Restic, check: Check, tmp_path: Path, damage: str, arguments: list[str]) -> None:
    """Programs that read restic's summary read ours."""
    repository = _make(restic_new, tmp_path)
    largest = _pack_sizes(repository)[-1]
    largest.chmod(0o600)
    stored = bytearray(largest.read_bytes())
    if damage == "removed":
        largest.unlink()
    elif damage == "cut":
        largest.write_bytes(stored[: len(stored) // 2])
    elif damage == "flipped":
        stored[1000] ^= 1
        largest.write_bytes(stored)
    elif damage == "superfluous":
        other = repository / "data/00" / ("00" * 32)
        other.write_bytes(b"not known to any index")
    theirs = restic_new.run("--json", "check", *arguments, repo=repository, password=PASSWORD, check=False)
    ours = check(repository, "--json", *arguments)
    expected, got = _summary(theirs.stdout), _summary(ours.out)
    if damage == "removed" and arguments:
        # restic tries to read what it knows to be missing, and counts that as another error.
        expected["num_errors"] = got["num_errors"]
    assert got == expected
    assert ours.exit_code == theirs.returncode
    messages = [json.loads(line) for line in ours.err.splitlines()]
    assert [one["message_type"] for one in messages[:-1]] == ["error"] * (len(messages) - 1)
    if ours.exit_code:
        assert any(largest.name in one["message"] for one in messages)


def test_wrong_password_document(restic_new: Restic, check: Check, tmp_path: Path) -> None:
    """A program that only reads the summary must not take a check that could not begin for a clean one."""
    repository = _make(restic_new, tmp_path)
    os.environ["LIMPET_PASSWORD"] = "wrong"
    ended = check(repository, "--json")
    theirs = restic_new.run("--json", "check", repo=repository, password="wrong", check=False)
    assert (ended.exit_code, _summary(ended.out)) == (theirs.returncode, _summary(theirs.stdout))


@pytest.mark.parametrize("subset", ["0/2", "3/2", "1/257", "1/2/3", "5", "x%", "0%", "101%", "-5%", "5X", "0K", "abc"])
def test_refused_subsets(restic_new: Restic, check: Check, tmp_path: Path, subset: str) -> None:
    """A subset that makes no sense is refused, as restic refuses it, before anything is opened."""
    flag = f"--read-data-subset={subset}"
    theirs = restic_new.run("check", flag, repo=tmp_path, password=PASSWORD, check=False)
    ours = check(tmp_path, flag)
    assert (ours.exit_code, theirs.returncode) == (1, 1)
    assert "--read-data-subset" in ours.err


def test_selected_snapshots(restic_new: Restic, check: Check, tmp_path: Path) -> None:
    """Selectors mean what they mean to restic, in numbers of packs read."""
    repository = _make(restic_new, tmp_path)
    for arguments in ["latest"], ["--tag", "second"], ["--path", "/nowhere"]:
        theirs = restic_new.run("check", "--read-data-subset=1/1", *arguments, repo=repository, password=PASSWORD)
        ours = check(repository, "--read-data-subset=1/1", *arguments)
        read_ours, read_theirs = (
            next(line for line in text.splitlines() if line.startswith("read group")).split("packs in")[0]
            for text in (ours.out, theirs.stdout.decode())
        )
        assert read_ours == read_theirs


def test_lock(restic_new: Restic, check: Check, tmp_path: Path) -> None:
    """A check beside a backup would find what is only not finished yet: it waits its turn, or goes without lock."""
    repository = _make(restic_new, tmp_path)
    with restic_new.start("backup", "--stdin", repo=repository, password=PASSWORD) as running:
        deadline = time.monotonic() + 60
        while not list((repository / "locks").iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert check(repository).exit_code == 11
        assert check(repository, "--no-lock").exit_code == 0
        running.communicate(b"done")
    assert check(repository).exit_code == 0


def test_interrupted(restic_new: Restic, tmp_path: Path) -> None:
    """Ctrl-C ends a check at once, with restic's exit code and without leaving its lock."""
    source, repository = tmp_path / "source", tmp_path / "repository"
    source.mkdir()
    (source / "random").write_bytes(os.urandom(50_000_000))
    create_repository(str(repository), PASSWORD, kdf=CHEAP).close()
    restic_new.run("backup", "--compression", "off", source, repo=repository, password=PASSWORD)
    running = subprocess.Popen(
        [*LIMPET, "--no-cache", "--limit-download", "2000", "-r", str(repository), "check", "--read-data"],
        env={**os.environ, "LIMPET_PASSWORD": PASSWORD, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list((repository / "locks").iterdir()):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    time.sleep(3)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert list((repository / "locks").iterdir()) == []

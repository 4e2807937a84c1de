"""`limpet restore --into`: files of a snapshot fed to a command, whole or with an error; no worker holds its pipe."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from limpet.contracts.destination import ZEROS_BYTES, Piece

from tests.services.backups import Backups

MIB = 1 << 20


@pytest.fixture
def repository(tmp_path: Path) -> Backups:
    """One with files of a source: small, empty but for zeros, and large with zeros in the middle and at the end."""
    content = random.Random(1)
    (tmp_path / "small").write_bytes(b"a dump")
    (tmp_path / "zeros").write_bytes(bytes(MIB))
    large = content.randbytes(9 * MIB) + bytes(40 * MIB) + content.randbytes(7 * MIB) + bytes(3 * MIB + 5)
    (tmp_path / "large").write_bytes(large)
    made = Backups(tmp_path / "backups")
    names = ("small", "zeros", "large")
    made.limpet("backup", *(f"command:dumps/{name}=cat {tmp_path / name}" for name in names))
    return made


@pytest.mark.parametrize("name", ["small", "zeros", "large"])
def test_a_command_is_fed_the_whole_file(repository: Backups, tmp_path: Path, name: str) -> None:
    """A database loaded from a cut or garbled dump looks like one that is restored."""
    out = tmp_path / "out"
    repository.limpet("restore", f"latest:/dumps/{name}", "--into", f"command:dd of={out} status=none")
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256((tmp_path / name).read_bytes()).digest()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("false", "command false failed: exit status 1"),
        ("sh -c 'kill -9 $$'", "command sh failed: signal: killed"),
        ("sh -c 'cat > /dev/null; echo no room >&2; exit 3'", "command sh failed: exit status 3: no room"),
        ("head -c 10", "command head failed: it ended before it had read all of it"),
    ],
)
def test_a_command_that_fails_fails_the_restore(repository: Backups, command: str, why: str) -> None:
    """At 3 a.m. a restore that says nothing is taken for one that worked."""
    done = repository.limpet("restore", "latest:/dumps/large", "--into", f"command:{command}", exit_code=1)
    assert done.stderr.splitlines()[-1] == f"Fatal: /dumps/large: {why}"


@pytest.mark.parametrize(
    ("snapshot", "into", "why"),
    [
        (
            "latest:/dumps",
            "command:cat",
            "more than one file to choose from, name one as SNAPSHOT:/PATH: /dumps/large,",
        ),
        ("latest", "command:cat", "/command: no file in the snapshot; name it as SNAPSHOT:/PATH"),
        ("latest:/dumps/smal", "command:cat", "/dumps/smal: no file in the snapshot"),
        ("latest:/dumps/small", "command:no-such-program", "'no-such-program' is not an executable file in $PATH"),
        ("latest:/dumps/small", "command:", "no command is named"),
        ("latest:/dumps/small", "stdin:", "stdin: is not something that files can be restored into"),
        ("latest:/dumps/small", "somewhere", "for a folder there is --target"),
    ],
)
def test_what_makes_no_sense_is_refused(repository: Backups, snapshot: str, into: str, why: str) -> None:
    """The wrong one of two dumps, loaded because somebody guessed, overwrites good data."""
    assert why in repository.limpet("restore", snapshot, "--into", into, exit_code=1).stderr


@pytest.mark.parametrize("flags", [["--target", "x"], ["--verify"], ["--sparse"], ["--include", "x"], ["--dry-run"]])
def test_flags_about_folders_are_refused(repository: Backups, flags: list[str]) -> None:
    """A `--dry-run` that is passed over would load the database."""
    done = repository.limpet("restore", "latest:/dumps/small", "--into", "command:cat", *flags, exit_code=1)
    assert "--into" in done.stderr


def test_the_summary_as_json(repository: Backups) -> None:
    """A wrapper reads what was done from here."""
    done = repository.limpet("--json", "restore", "latest:/dumps/small", "--into", "command:sh -c 'cat >/dev/null'")
    document = json.loads(done.stdout)
    assert (document["message_type"], document["total_files"], document["total_bytes"]) == ("summary", 1, 6)


@pytest.mark.parametrize("size_bytes", [0, 1, ZEROS_BYTES, 3 * ZEROS_BYTES + 7])
def test_zeros_have_their_length(size_bytes: int) -> None:
    """All after a run of zeros would be at the wrong place."""
    blocks = [bytes(block) for block in Piece(size_bytes, None).blocks()]
    assert b"".join(blocks) == bytes(size_bytes)
    assert all(len(block) <= ZEROS_BYTES for block in blocks)

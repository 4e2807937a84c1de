"""What wrappers look for in restic's output is in Limpet's: regular expressions and JSON keys as they use them.

Read in the sources of resticprofile, runrestic, autorestic, npbackup, backrest, restic-exporter, restic-browser and
resticpy, and written down here in our own words; each row says whose it is.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.parity.conftest import Both
from tests.parity.programs import Ended

pytestmark = pytest.mark.interop

SIZE = r"-?[0-9.]+ ?[a-zA-Z]*B"


@dataclass(frozen=True, slots=True)
class Looked:
    """A line that a wrapper looks for in the output of a command; each group has to hold something."""

    line: str
    pattern: str
    whose: str
    repository: str = "history"
    writes: bool = True


BACKUP = "backup source --host h1"
PRUNE = "forget --keep-last 1 --group-by '' --prune"
LOOKED = [
    Looked(BACKUP, r"^Files:\s+([0-9]+) new,\s+([0-9]+) changed,\s+([0-9]+) unmodified", "runrestic, npbackup"),
    Looked(BACKUP, r"^Dirs:\s+([0-9]+) new,\s+([0-9]+) changed,\s+([0-9]+) unmodified", "runrestic, npbackup"),
    Looked(BACKUP, rf"^Added to the repo\w*:\s+({SIZE})", "runrestic"),
    Looked(BACKUP, r"^Added to the repo(sitory)?: ([\d.]+ \w+)( \([\d.]+[\w\s]+\))?", "autorestic"),
    Looked(BACKUP, r"^Added to the repository: ([\d.]+) (\w{1,3}) +\(([\d.]+) (\w{1,3}) +stored\)", "resticprofile"),
    Looked(BACKUP, rf"^processed ([0-9]+) files,\s+({SIZE}) in ([0-9]+:+[0-9]+)", "runrestic"),
    Looked(BACKUP, r"^processed\s(\d+)\sfiles,\s((?:\d*\.\d+|\d+))\s(\w+)\sin\s(\d+:\d+(?::\d+)?)", "npbackup"),
    Looked(BACKUP, r"^using parent snapshot (\w+)$", "autorestic"),
    Looked(BACKUP, r"^snapshot (\w+) saved$", "autorestic"),
    Looked(PRUNE, r"remove ([0-9]+) snapshots", "runrestic"),
    Looked(PRUNE, rf"to repack:\s+([0-9]+) blobs / ({SIZE})", "runrestic"),
    Looked(PRUNE, rf"this removes:*\s+([0-9]+) blobs / ({SIZE})", "runrestic"),
    Looked(PRUNE, rf"to delete:\s+([0-9]+) blobs / ({SIZE})", "runrestic"),
    Looked(PRUNE, rf"total prune:\s+([0-9]+) blobs / ({SIZE})", "runrestic"),
    Looked(PRUNE, rf"remaining:\s+([0-9]+) blobs / ({SIZE})", "runrestic"),
    Looked(PRUNE, rf"unused size after prune:\s+({SIZE})", "runrestic"),
    Looked("check", r"^(no errors were found)$", "runrestic, scripts"),
    Looked("init --repo {place}/new", r"^created restic repository ([a-z0-9]+) at (.+)$", "npbackup"),
    Looked("init", r"(already exists|already initialized)", "npbackup"),
    Looked("snapshots", r"unable to create lock.+already locked.+?by (.+)$", "resticprofile", "locked", False),
    Looked("snapshots", r"lock was created at.+\(([^()]+)\s+ago\)", "resticprofile", "locked", False),
    Looked(
        "snapshots", r"(the\W+unlock\W+command can be used to remove stale locks)", "resticprofile", "locked", False
    ),
    Looked("snapshots", r"repo already locked, waiting up to (\S+) for the lock", "resticprofile", "locked", False),
    Looked(
        "snapshots --repo /nonexistent/place",
        r"([Ii]s there a repository at the following location\?)",
        "npbackup, runrestic",
        writes=False,
    ),
    Looked("list locks", r"^([a-z0-9]+)$", "restic-exporter", "locked", False),
]


@pytest.mark.parametrize("looked", LOOKED, ids=lambda looked: f"{looked.whose}: {looked.pattern}")
def test_lines(both: Both, looked: Looked) -> None:
    """The wrapper would report zeros, or not notice that a backup failed."""
    places = both.start_in(looked.repository, writes=looked.writes)
    for ended, _ in both.run(shlex.split(looked.line), places):
        found = re.search(looked.pattern, ended.out + ended.err, re.MULTILINE)
        assert found, ended
        assert all(part or "?" in looked.pattern for part in found.groups())


def _document(ended: Ended) -> Any:
    return json.loads(ended.out)


def _last_line(ended: Ended) -> Any:
    return json.loads(ended.out.splitlines()[-1])


def _fullest_group(ended: Ended) -> Any:
    """The group from which most is removed: restic takes its groups in random order."""
    return max(_first_line(ended), key=lambda group: len(group["remove"] or ()))


def _first_line(ended: Ended) -> Any:
    return json.loads(ended.out.splitlines()[0])


def _braces(ended: Ended) -> Any:
    return json.loads(re.findall(r"(\{.*\})", ended.out, re.MULTILINE)[0])


def _summary_by_prefix(ended: Ended) -> Any:
    prefix = '{"message_type":"summary",'
    (line,) = (line for line in ended.out.splitlines() if line.startswith(prefix) and line.endswith("}"))
    return json.loads(line)


@dataclass(frozen=True, slots=True)
class Read:
    """How a wrapper finds a document in the output, and the keys that it takes from it."""

    line: str
    find: Callable[[Ended], Any]
    keys: str
    whose: str


READS = [
    Read(
        "backup source --host h1 --json",
        _summary_by_prefix,
        "files_new files_changed files_unmodified dirs_new dirs_changed dirs_unmodified data_added data_added_packed "
        "total_files_processed total_bytes_processed total_duration snapshot_id",
        "resticprofile",
    ),
    Read("backup source --host h1 --json", _last_line, "message_type snapshot_id data_added", "resticpy"),
    Read("stats --json", _braces, "total_file_count total_size", "runrestic"),
    Read("stats --json --mode restore-size --no-lock", _document, "total_size total_file_count", "restic-exporter"),
    Read(
        "stats --json --mode raw-data --no-lock",
        _document,
        "total_size total_blob_count snapshots_count total_uncompressed_size compression_ratio compression_progress "
        "compression_space_saving",
        "restic-exporter, backrest",
    ),
    Read("snapshots --json", lambda ended: _document(ended)[0], "time hostname paths id short_id tree", "backrest"),
    Read(
        "snapshots --json --latest 1 --group-by host,paths",
        lambda ended: _document(ended)[0]["snapshots"][0]["summary"],
        "backup_start backup_end files_new files_changed files_unmodified dirs_new dirs_changed dirs_unmodified "
        "data_added",
        "restic-exporter",
    ),
    Read("forget --keep-last 1 --json", _fullest_group, "keep remove reasons host paths", "resticpy"),
    Read("forget --keep-last 1 --json --prune", _fullest_group, "keep remove", "backrest"),
    Read("ls {s0} --json", _first_line, "id time tree paths hostname struct_type", "backrest, restic-browser"),
    Read("ls {s0} --json", _last_line, "name type path uid gid mode mtime atime ctime", "backrest, restic-browser"),
    Read("cat config --json", _document, "version id chunker_polynomial", "backrest"),
    Read("restore {s0} --target {place}/x --json", _last_line, "message_type total_files files_restored", "backrest"),
    Read("init --repo {place}/new --json", _document, "message_type id repository", "npbackup"),
]


@pytest.mark.parametrize("read", READS, ids=lambda read: f"{read.whose}: {read.line}")
def test_documents(both: Both, read: Read) -> None:
    """The wrapper would end with an error of its own, or show nothing."""
    places = both.start_in("history", writes=True)
    found = []
    for ended, _ in both.run(shlex.split(read.line), places):
        assert ended.exit_code == 0, ended
        document = read.find(ended)
        found.append({key: type(document[key]) for key in read.keys.split() if not key.endswith("ratio")})
    assert found[0] == found[1]


VERSIONS = [
    (r"restic\s+(\d+\.\d+\.\d+)", "backrest"),
    (r"restic ([\d.]+)[ -].+", "resticprofile"),
    (r"restic\s+([0-9.]+).*compiled", "npbackup"),
]


@pytest.mark.parametrize("name", ["limpet", "restic"])
def test_version(tmp_path: Path, name: str) -> None:
    """Wrappers refuse a restic that seems too old. Under restic's name the second word is its version, too."""
    program = tmp_path / name
    program.write_text(f"#!{sys.executable}\nfrom limpet.cli.main import run\nrun()\n")
    program.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RESTIC_", "LIMPET_"))}

    def ask(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    text, document = ask("version"), json.loads(ask("version", "--json"))
    for pattern, _whose in VERSIONS:
        found = re.search(pattern, text)
        assert found
        assert found[1] == "0.19.1"
    if name == "restic":
        assert text.split()[1] == document["version"] == "0.19.1"

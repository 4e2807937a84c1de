"""The audit log: complete, without secrets, through rotations and full disks."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from limpet.errors import UsageError
from limpet_command_serve.audit import AuditEntry, AuditLog
from limpet_command_serve.audit_policy import MOST_PATH, AuditPolicy
from limpet_command_serve.exchange import Exchange

ENTRY = AuditEntry(
    time_s=1_700_000_000.25,
    user="web1",
    client="192.0.2.1",
    repository="web1/db",
    method="POST",
    kind="data",
    name="ab" * 32,
    status=200,
    received_bytes=17,
    sent_bytes=0,
    duration_s=0.0123456789,
)


def test_a_line_has_every_field() -> None:
    """Whoever looks for what happened has these and nothing else."""
    assert json.loads(ENTRY.encode()) == {
        "time": "2023-11-14T22:13:20.250000Z",
        "user": "web1",
        "client": "192.0.2.1",
        "repository": "web1/db",
        "method": "POST",
        "kind": "data",
        "id": "ab" * 32,
        "status": 200,
        "bytes_received": 17,
        "bytes_sent": 0,
        "duration_s": 0.012346,
    }
    assert json.loads(replace(ENTRY, reason="quota").encode())["reason"] == "quota"


def test_a_client_cannot_write_lines_of_its_own() -> None:
    """Names come from clients: a line break or broken Unicode in one must not make or break a line."""
    line = replace(ENTRY, user='x"}\n{"user":"admin', name="\udcff\x1b[31m").encode()
    assert line.count(b"\n") == 1
    assert json.loads(line)["user"] == 'x"}\n{"user":"admin'
    assert b"\x1b" not in line


def test_a_client_cannot_fill_the_log(tmp_path: Path) -> None:
    """Without a login anybody may ask for a long path, again and again, that names nothing."""
    path = tmp_path / "audit.log"
    log = AuditLog(path, print)
    AuditPolicy(log).answered(Exchange(0.0, "192.0.2.1", "GET", "/" + "x" * 15_000, status=401))
    log.close()
    assert json.loads(path.read_text())["path"] == "/" + "x" * (MOST_PATH - 1)


def test_lines_go_to_the_file_that_has_the_name(tmp_path: Path) -> None:
    """After a rotation and SIGHUP nothing more goes into the old file, and nothing is lost."""
    path = tmp_path / "audit.log"
    log = AuditLog(path, print)
    log.add(ENTRY)
    path.rename(tmp_path / "audit.log.1")
    log.add(replace(ENTRY, status=403))
    # The queue is in order: what was added before goes into the file from before.
    log.reopen()
    log.add(replace(ENTRY, status=404))
    log.close()
    log.close()
    assert [json.loads(line)["status"] for line in (tmp_path / "audit.log.1").read_text().splitlines()] == [200, 403]
    assert [json.loads(line)["status"] for line in path.read_text().splitlines()] == [404]
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no disk that is always full")
def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    """Backups must not end because a log cannot be written; afterwards it says how much is missing."""
    told: list[str] = []
    path = tmp_path / "audit.log"
    path.symlink_to("/dev/full")
    log = AuditLog(path, told.append)
    for _ in range(5):
        log.add(ENTRY)

    path_of_good = tmp_path / "good"
    path_of_good.touch()
    later = tmp_path / "later"
    later.symlink_to(path_of_good)

    def turn() -> None:
        os.replace(later, path)

    log._queue.put(turn)
    log.reopen()
    log.add(ENTRY)
    log.close()
    lines = [json.loads(line) for line in path_of_good.read_text().splitlines()]
    assert [line.get("lost_lines") for line in lines] == [5, None]
    assert log.lost_lines == 0
    assert len(told) == 2
    assert "No space left" in told[0]


def test_a_log_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    """Who asks for an audit log must not find out in a year that there is none."""
    with pytest.raises(UsageError, match=r"cannot write the audit log .*: No such file"):
        AuditLog(tmp_path / "nothing" / "audit.log", print)

"""What goes wrong with a dump: no snapshot, one line that says why, nothing left behind, no password shown."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from limpet.contracts.source import SourceRequest
from limpet.errors import SourceError
from limpet.testing.source import deliver
from limpet_source_mysql import MysqlSource

from tests.services.mariadb_server import MariadbServer
from tests.services.process import free_port
from tests.sources.mysql_shop import SECRET, address, password_file
from tests.sources.recorded import record_calls, recorded_calls
from tests.sources.runs import Runs, command_lines, running, wait_until

DUMP = "mysql://root@localhost/large: command mariadb-dump"


def test_passwords_show_nowhere(server: MariadbServer, runs: Runs, tmp_path: Path) -> None:
    """Every user of the machine can read command lines; snapshots and messages go to others still."""
    target = f"mysql://app@127.0.0.1:{server.port}/shop"
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat {password_file(tmp_path)}\n")
    script.chmod(0o755)
    defaults = tmp_path / "my.cnf"
    quoted = SECRET.replace("\\", "\\\\").replace('"', '\\"')
    defaults.write_text(f'[client]\nuser = app\npassword = "{quoted}"\n')
    runs.variables |= record_calls(tmp_path, "mariadb", "mariadb-dump")
    with command_lines() as seen:
        said = [
            runs.run("backup", "-v", f"{target}?password_file={tmp_path}/password"),
            runs.run("backup", "-v", "-o", f"mysql.password_file={tmp_path}/password", target),
            runs.run("backup", "-v", "-o", f"mariadb.password_command={script}", target),
            runs.run("backup", "-v", "-o", f"mysql.defaults_file={defaults}", target.replace("app@", "")),
        ]
        runs.variables["MYSQL_PWD"] = SECRET
        said.append(runs.run("backup", "-v", target))
        del runs.variables["MYSQL_PWD"]
        said.append(runs.refused(target))
    calls = recorded_calls(tmp_path)
    assert calls.count("--single-transaction") == 5
    assert not [word for word in calls if "pass word" in word]
    assert not [line for line in seen if b"pass word" in line]
    assert not [text for text in said if "pass word" in text]
    assert "using password: NO" in said[-1]
    assert b"pass word" not in runs.restored(f"/mysql/127.0.0.1:{server.port}/shop.sql")


def test_what_cannot_be_reached(server: MariadbServer, runs: Runs, tmp_path: Path) -> None:
    """A typing mistake or a server that is down: one line, and nothing that looks like a backup."""
    wrong = password_file(tmp_path, "wrong")
    assert "Access denied for user 'app'" in runs.refused(address(server, user="app", more=f"&password_file={wrong}"))
    assert "no database 'missing'" in runs.refused(address(server, "missing"))
    assert 'Couldn\'t find table: "nope"' in runs.refused(address(server, more="&tables=nope"))
    assert "Can't connect to server on '127.0.0.1'" in runs.refused(f"mysql://root@127.0.0.1:{free_port()}/shop")
    assert "Can't connect to local server" in runs.refused(f"mysql://root@localhost/shop?socket={tmp_path}/none")
    assert "Access denied" in runs.refused(address(server, "", "&method=mariabackup", user="app"))


def test_one_failing_of_two_is_no_snapshot(server: MariadbServer, runs: Runs) -> None:
    """A snapshot without the database that mattered would be taken for one with it, unless it was asked for."""
    assert "no database 'missing'" in runs.refused(address(server), address(server, "missing"))


def test_one_failing_of_two_is_left_out_if_that_is_asked_for(server: MariadbServer, runs: Runs) -> None:
    """What can be saved is saved, under an exit code that says that it is not all."""
    said = runs.run("backup", "--allow-partial", address(server), address(server, "missing"), exit_code=3)
    assert "no database 'missing'" in said
    assert runs.restored("/mysql/localhost/shop.sql").endswith(b"-- Dump completed\n")


def test_a_server_killed_amid_its_dump(server: MariadbServer, runs: Runs) -> None:
    """The dump is cut and looks whole up to there: only the exit code tells, and it must be listened to."""
    with stuck_amid_dump(server, runs) as process:
        server.process.kill()
        assert "Lost connection" in runs.failure(process, DUMP)
    server.start()
    runs.backup(address(server, "large"))


def test_a_dump_program_killed(server: MariadbServer, runs: Runs) -> None:
    """The memory killer takes the dump, not the backup: what was written until then is no backup."""
    with stuck_amid_dump(server, runs) as process:
        [pid] = dump_pids(server)
        os.kill(pid, signal.SIGKILL)
        assert "signal: killed" in runs.failure(process, DUMP)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_backup_leaves_nothing(number: int, server: MariadbServer, runs: Runs) -> None:
    """A dump that goes on without its backup holds its transaction open, and the server keeps all old rows for it."""
    with stuck_amid_dump(server, runs) as process:
        process.send_signal(number)
        said = "".join(process.communicate(timeout=100))
        assert process.returncode not in {0, 3}, said
        assert (runs.snapshot_count(), runs.leftovers()) == (0, [])
        wait_until(lambda: not dump_pids(server))


@contextmanager
def stuck_amid_dump(server: MariadbServer, runs: Runs) -> Iterator[subprocess.Popen[str]]:
    """A backup whose dump has got to the second table of the database `large` and waits for a lock of ours."""
    command = ["mariadb", "--no-defaults", "--user=root", f"--socket={server.socket}", "--unbuffered", "large"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as locker:
        assert locker.stdin is not None
        assert locker.stdout is not None
        locker.stdin.write(b"LOCK TABLES z WRITE; SELECT 1;\n")
        assert locker.stdout.read(1)
        process = runs.start("backup", address(server, "large"))
        question = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%lock'"
        wait_until(lambda: server.sql(question) == ["1"] or process.poll() is not None)
        assert process.poll() is None, "".join(process.communicate())
        try:
            yield process
        finally:
            locker.kill()
            process.kill()
            process.communicate()


def dump_pids(server: MariadbServer) -> list[int]:
    """Dumps from this server."""
    return running("mariadb-dump", f"--socket={server.socket}")


def test_a_dump_without_an_end_is_none(server: MariadbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends well without having written its last line did not do what it was asked to."""
    program = tmp_path / "mariadb-dump"
    program.write_text("#!/bin/sh\necho '-- MariaDB dump'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SourceError, match="its dump has no end"):
        deliver(MysqlSource, SourceRequest([address(server).removeprefix("mysql:")]))

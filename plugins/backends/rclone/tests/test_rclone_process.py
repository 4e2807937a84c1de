"""The rclone that the backend runs: its start, its end with ours, its options, what it says and what it must not."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, FileKind
from limpet.errors import BackendError, MissingFileError, UsageError
from limpet.registry.opening import open_backend
from limpet.testing.backend import content_of, save_all, some_bytes
from limpet_backend_rclone import RcloneBackend
from limpet_backend_rclone.backend import command_line

from tests.services.process import PEERS, program

RCLONE_LIMIT_S = 60.0
HOLD = """
import sys
from limpet_backend_rclone import RcloneBackend

backend = RcloneBackend.open(sys.argv[1], {"program": sys.argv[2]})
backend.create()
print(backend.place.socket_path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def rclone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The program, with a remote called `disk` and a temporary folder of the test's own."""
    (tmp_path / "rclone.conf").write_text("[disk]\ntype = local\n")
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    return str(program("rclone", PEERS))


@pytest.fixture
def backend(rclone: str, tmp_path: Path) -> Iterator[RcloneBackend]:
    """A new repository on it."""
    backend = RcloneBackend.open(f"disk:{tmp_path}/repository", {"program": rclone})
    backend.create()
    yield backend
    backend.close()


def processes_with(text: str) -> list[int]:
    """Processes that have the text in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # gone meanwhile
    return found


def wait_until_gone(text: str) -> None:
    """Return when no process has the text in its command line; AssertionError if one stays."""
    deadline = time.monotonic() + RCLONE_LIMIT_S
    while left := processes_with(text):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


def test_nothing_is_left_at_the_end(backend: RcloneBackend) -> None:
    """Each run that left a process, a thread or a folder behind would add to a heap."""
    socket_path = Path(backend.place.socket_path or "")
    assert socket_path.is_socket()
    assert socket_path.parent.stat().st_mode & 0o077 == 0
    assert processes_with(str(socket_path))
    backend.close()
    backend.close()
    assert not processes_with(str(socket_path))
    assert not socket_path.parent.exists()
    assert "rclone" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(BackendError, match="closed"):
        backend.stat(CONFIG_HANDLE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_us(rclone: str, tmp_path: Path, number: signal.Signals) -> None:
    """An rclone that outlives a killed backup holds the remote, the memory and the credentials for ever."""
    command = [sys.executable, "-c", HOLD, f"disk:{tmp_path}/repository", rclone]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        socket_path = run.stdout.readline().strip()
        assert processes_with(socket_path)
        run.send_signal(number)
        run.wait()
        wait_until_gone(socket_path)
        wait_until_gone(str(Path(socket_path).parent))
    assert not Path(socket_path).parent.exists()


def test_rclone_that_dies(backend: RcloneBackend) -> None:
    """It is said what happened, at once: to try again for 15 minutes makes it no more alive."""
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    own = [pid for pid in processes_with(str(backend.place.socket_path)) if _is_rclone(pid)]
    assert len(own) == 1
    os.kill(own[0], signal.SIGKILL)
    wait_until_gone(str(backend.place.socket_path))
    backend._process._process.wait()
    with pytest.raises(BackendError, match="rclone has ended with exit status 137") as caught:
        backend.load(handle)
    assert caught.value.permanent


def test_program_that_is_missing(tmp_path: Path) -> None:
    """One line that says what to install or to set."""
    with pytest.raises(UsageError, match=r"no program 'rklone'.*rclone\.program"):
        RcloneBackend.open(f"disk:{tmp_path}", {"program": "rklone"})


def test_remote_that_is_missing(rclone: str) -> None:
    """rclone's own words say it, and the run ends."""
    with pytest.raises(BackendError, match=r"cannot serve the remote.*didn't find section") as caught:
        RcloneBackend.open("nobody:path", {"program": rclone})
    assert caught.value.permanent
    assert "rclone" not in {thread.name for thread in threading.enumerate()}


def test_rclone_that_never_listens(tmp_path: Path) -> None:
    """A program that waits for ever is given up after rclone.timeout, and ended."""
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nsleep 1000\n")
    sleeper.chmod(0o755)
    with pytest.raises(BackendError, match=r"does not listen after 0\.2 seconds.*rclone\.timeout"):
        RcloneBackend.open("disk:", {"program": str(sleeper), "timeout": 0.2})
    assert not processes_with(str(sleeper))


def test_what_rclone_says_is_told(rclone: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Only rclone knows why a remote fails."""
    with caplog.at_level(logging.WARNING):
        options = {"program": rclone, "args": "serve restic --stdio -v"}
        backend = RcloneBackend.open(f"disk:{tmp_path}/repository", options)
        backend.create()
        backend.close()
    assert any(message.startswith("rclone: ") and "Creating repository" in message for message in caplog.messages)
    assert {record.name for record in caplog.records} == {"limpet.backend.rclone"}


def test_options_and_environment_reach_rclone(rclone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-o rclone.program`, `-o rclone.args` and RCLONE_ variables are what a user has to tell rclone things with."""
    monkeypatch.setenv("RCLONE_BWLIMIT", "nonsense")
    with pytest.raises(BackendError, match="nonsense"):
        open_backend(f"rclone:disk:{tmp_path}", {"rclone.program": rclone})
    monkeypatch.setenv("RCLONE_BWLIMIT", "100M")
    options = {
        "rclone.program": f"'{rclone}' -q",
        "rclone.args": "serve restic --stdio --append-only",
        "rclone.connections": "2",
        "rclone.timeout": "1m30s",
    }
    backend = open_backend(f"rclone:disk:{tmp_path}/repository", options)
    try:
        assert backend.properties.connections == 2
        backend.create()
        (handle,) = save_all(backend, FileKind.PACK, [some_bytes(100_000)])
        with pytest.raises(BackendError, match="403") as caught:
            backend.remove(handle)
        assert caught.value.permanent
        assert backend.load(handle) == some_bytes(100_000)
    finally:
        backend.close()


def test_file_of_another_process_is_seen(rclone: str, backend: RcloneBackend) -> None:
    """A lock that another machine has removed must not be there any more: rclone's own cache would say so."""
    other = RcloneBackend.open(backend.location.removeprefix("rclone:"), {"program": rclone})
    (lock,) = save_all(backend, FileKind.LOCK, [b"a lock"])
    assert backend.stat(lock).size_bytes == 6
    other.remove(lock)
    other.close()
    with pytest.raises(MissingFileError):
        backend.stat(lock)
    with pytest.raises(MissingFileError):
        backend.remove(lock)


def test_command_line() -> None:
    """restic's arguments mean here what they mean there; where the socket is, is ours to say."""
    given = command_line("nice rclone", "serve restic --stdio --b2-hard-delete", "/tmp/s", "remote:a b")
    assert given == ["nice", "rclone", "serve", "restic", "--b2-hard-delete", "--addr", "unix:///tmp/s", "remote:a b"]
    for words in ("serve restic --addr :8080", "serve restic --addr=:8080"):
        with pytest.raises(UsageError, match="--addr"):
            command_line("rclone", words, "/tmp/s", "remote:")
    with pytest.raises(UsageError, match="words"):
        command_line("rclone", "serve 'restic", "/tmp/s", "remote:")
    with pytest.raises(UsageError, match="no program"):
        command_line(" ", "serve restic", "/tmp/s", "remote:")


def test_save_does_not_replace(backend: RcloneBackend) -> None:
    """rclone would replace a config without a word, and with it the key of a whole repository."""
    backend.save(CONFIG_HANDLE, content_of(b"the first"))
    with pytest.raises(BackendError, match="there already") as caught:
        backend.save(CONFIG_HANDLE, content_of(b"the second"))
    assert caught.value.permanent
    assert backend.load(CONFIG_HANDLE) == b"the first"


def test_secrets_of_a_remote_are_not_shown(rclone: str, tmp_path: Path) -> None:
    """A remote may be given with its password in the location."""
    remote = f":local,password=hunter2,secret_key='a,b:c':{tmp_path}/repository"
    backend = RcloneBackend.open(remote, {"program": rclone})
    try:
        assert "hunter2" not in backend.location + repr(backend)
        assert "a,b:c" not in backend.location
        assert str(tmp_path) in backend.location
    finally:
        backend.close()


@pytest.mark.parametrize(
    "settings",
    ["pass=hunter2", "pass='x''hunter2'", 'pass="x,hunter2"', "url='http://me:hunter2@127.0.0.1:1'"],
)
def test_rclone_tells_no_secret(rclone: str, caplog: pytest.LogCaptureFixture, settings: str) -> None:
    """rclone repeats a remote that it cannot open, password and all, and our line would end in a mail of cron's."""
    with caplog.at_level(logging.WARNING), pytest.raises(BackendError, match="cannot serve the remote") as caught:
        RcloneBackend.open(f":nosuch,{settings}:path", {"program": rclone})
    told = "".join(caplog.messages) + str(caught.value)
    assert "hunter2" not in told
    assert ":nosuch," in told


def test_location_without_a_remote() -> None:
    """Nothing after `rclone:` is a mistake, not the working folder."""
    with pytest.raises(UsageError, match="names no remote"):
        RcloneBackend.open("", {})


def _is_rclone(pid: int) -> bool:
    return os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "rclone"

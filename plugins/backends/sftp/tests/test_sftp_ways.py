"""Ways to an SFTP server and what stands in them: keys, agents, jump hosts, strangers, and connections that break."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, FileKind, Handle
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError, StorageFullError
from limpet.testing.backend import MIB, content_of, handle_of, some_bytes
from limpet.testing.restic import Restic
from limpet_backend_sftp import SftpBackend

from tests.safety.mounts import small_disk
from tests.services.process import program
from tests.services.sftp_server import SFTP_PROGRAM, SftpServer

LIMIT_S = 60.0
PASSWORD = "only for this test"
both_clients = pytest.mark.parametrize("client", ["ssh", "paramiko"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """One sshd for all tests here."""
    with SftpServer(tmp_path_factory.mktemp("sshd") / "server") as server:
        yield server


def opened(server: SftpServer, path: Path, config: Path | None = None, **options: str) -> SftpBackend:
    """A backend on the server; nothing is connected yet."""
    return SftpBackend.open(server.location(path), {"args": server.arguments(config), **options})


def without_server(path: Path, command: str = str(SFTP_PROGRAM), timeout_s: float = LIMIT_S) -> SftpBackend:
    """A backend whose SFTP server is a child of ours."""
    return SftpBackend.open(f"host:{path}", {"command": command}, Transport(stuck_request_timeout_s=timeout_s))


def wait_until(condition: Callable[[], object]) -> None:
    """Return when it is true; AssertionError if that takes too long."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def children(pid: int, name: str) -> list[int]:
    """Processes of this name below that one."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    below, found = {pid}, []
    for own, parent, command in sorted(rows, key=lambda row: int(row[0])):
        if int(parent) in below:
            below.add(int(own))
            if command == name:
                found.append(int(own))
    return found


def left_overs(path: Path) -> list[Path]:
    """Temporary files in a repository."""
    return [found for found in path.rglob("*-restic-temp-*") if found.is_file()]


# -- who may in


@both_clients
def test_unknown_host_key(server: SftpServer, tmp_path: Path, client: str) -> None:
    """A server that nobody has vouched for gets no backup, and the run does not try for a quarter of an hour."""
    config = server.ssh_config(f"unknown_{client}", UserKnownHostsFile=tmp_path / "none")
    with pytest.raises(BackendError, match=r"Host key verification failed.*known_hosts") as caught:
        opened(server, tmp_path, config, client=client).stat(CONFIG_HANDLE)
    assert caught.value.permanent


@both_clients
def test_changed_host_key(server: SftpServer, tmp_path: Path, client: str) -> None:
    """Somebody in between must not be taken for the server."""
    other = server.known_hosts.read_text().split()[0] + " " + server.key.with_suffix(".pub").read_text()
    (tmp_path / "other").write_text(other)
    config = server.ssh_config(f"changed_{client}", UserKnownHostsFile=tmp_path / "other")
    with pytest.raises(BackendError, match="Host key verification failed") as caught:
        opened(server, tmp_path, config, client=client).stat(CONFIG_HANDLE)
    assert caught.value.permanent


@pytest.mark.parametrize("line", [b"host ssh-rsa !!!no key\n", b"\xff\xfe ssh-rsa AAAA\n"])
def test_known_hosts_that_are_none(tmp_path: Path, line: bytes) -> None:
    """A damaged file is named; without that the run ends in a traceback."""
    (tmp_path / "known").write_bytes(line)
    (tmp_path / "config").write_text(f"Host *\nPort 1\nUserKnownHostsFile {tmp_path}/known\n")
    backend = SftpBackend.open("127.0.0.1:/dir", {"client": "paramiko", "args": f"-F {tmp_path}/config"})
    with pytest.raises(BackendError, match=rf"{tmp_path}/known.*mend it") as caught:
        backend.stat(CONFIG_HANDLE)
    assert caught.value.permanent


def test_proxy_command_that_is_not_there(tmp_path: Path) -> None:
    """A program that is not installed does not come within 15 minutes."""
    (tmp_path / "config").write_text("Host *\nProxyCommand no-such-program\n")
    backend = SftpBackend.open("127.0.0.1:/dir", {"client": "paramiko", "args": f"-F {tmp_path}/config"})
    with pytest.raises(BackendError, match=r"ProxyCommand.*no-such-program") as caught:
        backend.stat(CONFIG_HANDLE)
    assert caught.value.permanent


@pytest.fixture
def agent(server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A running ssh-agent that holds the key."""
    socket = tmp_path / "agent"
    process = subprocess.Popen([program("ssh-agent"), "-D", "-a", socket], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    wait_until(socket.exists)
    subprocess.run([program("ssh-add"), "-q", server.key], check=True)
    yield
    process.terminate()
    process.wait()


@both_clients
@pytest.mark.usefixtures("agent")
def test_agent(server: SftpServer, tmp_path: Path, client: str) -> None:
    """Keys that are protected by a passphrase are used by an agent, also from cron."""
    config = server.ssh_config(
        f"agent_{client}", IdentityAgent="SSH_AUTH_SOCK", IdentitiesOnly="no", IdentityFile=tmp_path / "none"
    )
    backend = opened(server, tmp_path, config, client=client)
    with pytest.raises(MissingFileError):
        backend.stat(CONFIG_HANDLE)
    backend.close()


@both_clients
def test_jump_host_and_alias(server: SftpServer, tmp_path: Path, client: str) -> None:
    """The user's ssh configuration holds, with its names for hosts and the way through others."""
    more = f"Host inside\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.user}\n  ProxyJump gate\n"
    more += f"Host gate\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.user}\n"
    config = server.ssh_config(f"jump_{client}", more=more)
    logins = server.log.read_text().count("Accepted publickey")
    backend = SftpBackend.open(f"inside:{tmp_path / 'r'}", {"client": client, "args": f"-F {config}"})
    backend.create()
    backend.save(CONFIG_HANDLE, content_of(b"through the gate"))
    backend.close()
    assert (tmp_path / "r/config").read_bytes() == b"through the gate"
    assert server.log.read_text().count("Accepted publickey") == logins + 2


def test_without_ssh(server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small systems have no ssh program; the same location and arguments work there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    backend = opened(server, tmp_path)
    with pytest.raises(MissingFileError):
        backend.stat(CONFIG_HANDLE)
    backend.close()
    with pytest.raises(BackendError, match=r"cannot run ssh.*sftp\.client=paramiko"):
        opened(server, tmp_path, client="ssh").stat(CONFIG_HANDLE)


def test_question_on_the_terminal(server: SftpServer, tmp_path: Path) -> None:
    """ssh may ask on the terminal though it is in a process group of its own; afterwards the terminal is ours again."""
    config = server.ssh_config("asking", UserKnownHostsFile=tmp_path / "new_hosts", StrictHostKeyChecking="ask")
    script = (
        "import os, sys;"
        "from limpet.contracts.backend import FileKind;"
        "from limpet_backend_sftp import SftpBackend;"
        "backend = SftpBackend.open(sys.argv[1], {'args': sys.argv[2]});"
        "print('found', list(backend.list(FileKind.KEY)));"
        "print('ours', os.tcgetpgrp(0) == os.getpgrp()); backend.close()"
    )
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", script, server.location(tmp_path), f"-F {config}"])
    said = b""
    answered = False
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        said += piece
        if b"continue connecting" in said and not answered:
            os.write(terminal, b"yes\n")
            answered = True
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert answered
    assert b"found []" in said
    assert b"ours True" in said
    assert status == 0


# -- what is at the other end


def test_command_instead_of_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may carry SFTP; it is told nothing of the repository's password, and Ctrl-C is not for it."""
    monkeypatch.setenv("LIMPET_PASSWORD", "secret")
    monkeypatch.setenv("RESTIC_PASSWORD", "secret")
    script = f"env > {tmp_path}/seen; exec {SFTP_PROGRAM}"
    backend = without_server(tmp_path / "r", shlex.join(["sh", "-c", script]))
    backend.create()
    assert "secret" not in (tmp_path / "seen").read_text()
    (carrier,) = children(os.getpid(), "sftp-server")
    assert os.getpgid(carrier) != os.getpgrp()
    threads = threading.active_count()
    backend.close()
    assert threading.active_count() == threads - 1
    assert not children(os.getpid(), "sftp-server")


@pytest.mark.parametrize(
    ("command", "reason", "permanent"),
    [
        ("no-such-program host", "cannot run no-such-program.*sftp.command", True),
        ("sh -c 'echo Welcome to our server; cat'", "no SFTP: 'Welcome to our server", True),
        ("sh -c 'echo ssh: connect to host x port 22: Connection refused >&2; exit 255'", "Connection refused", False),
        ("sh -c 'echo user@x: Permission denied \\(publickey\\). >&2; exit 255'", "denied .publickey.*agent", True),
        ("sh -c 'echo subsystem request failed on channel 0 >&2; exit 255'", "Subsystem sftp", True),
        ("sh -c 'exit 127'", "exit code 127", True),
        ("sh -c 'kill -INT $$'", "interrupted", True),
    ],
)
def test_what_is_no_server(tmp_path: Path, command: str, reason: str, permanent: bool) -> None:
    """One line tells what ssh said, and only what may pass is tried again."""
    with pytest.raises(BackendError, match=reason) as caught:
        without_server(tmp_path, command).stat(CONFIG_HANDLE)
    assert caught.value.permanent is permanent
    assert "\n" not in str(caught.value)


def test_modes(tmp_path: Path) -> None:
    """Whatever the server's umask is, a repository is the owner's alone, or the group's too where its config is."""
    backend = without_server(tmp_path / "r", f"{SFTP_PROGRAM} -u 0")
    backend.create()
    backend.save(CONFIG_HANDLE, content_of(b"config"))
    backend.close()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "r", *(tmp_path / "r").rglob("*")]}
    assert modes == {0o700, 0o400}
    (tmp_path / "r/config").chmod(0o440)
    (tmp_path / "r/data/00").rmdir()
    backend = without_server(tmp_path / "r", f"{SFTP_PROGRAM} -u 077")
    backend.save(Handle(FileKind.PACK, "0" * 64), content_of(b"pack"))
    backend.close()
    assert stat.S_IMODE((tmp_path / "r/data/00").stat().st_mode) == 0o770
    assert stat.S_IMODE((tmp_path / "r/data/00" / ("0" * 64)).stat().st_mode) == 0o440


def test_root_that_is_gone(tmp_path: Path) -> None:
    """A disk that is not mounted must not turn into a second, empty repository."""
    backend = without_server(tmp_path / "not" / "mounted")
    with pytest.raises(BackendError, match="is its disk mounted") as caught:
        backend.save(CONFIG_HANDLE, content_of(b"config"))
    assert caught.value.permanent
    assert not isinstance(caught.value, MissingFileError)
    assert not (tmp_path / "not").exists()
    backend.close()


def test_full_disk(tmp_path: Path) -> None:
    """SFTP has but one word for most failures; a full disk is told as what it is, at once, and not filled by halves."""
    with small_disk(tmp_path / "disk", 2) as disk:
        backend = without_server(disk / "r")
        backend.create()
        data = some_bytes(4 * MIB)
        with pytest.raises(StorageFullError, match="no space left") as caught:
            backend.save(handle_of(data), content_of(data))
        assert caught.value.permanent
        assert not left_overs(disk)
        backend.save(CONFIG_HANDLE, content_of(b"config"))
        backend.close()


def test_sweep_removes_what_broken_saves_left(tmp_path: Path) -> None:
    """restic's temporary files and ours go; those of locks, and what is nobody's, stay."""
    backend = without_server(tmp_path)
    backend.create()
    name = "1" * 64
    gone = [f"data/11/{name}-restic-temp-{'a' * 32}", f"index/{name}-tmp-123", f"snapshots/{name}-restic-temp-1"]
    stay = [f"locks/{name}-restic-temp-1", "data/11/notes-restic-temp-1", f"index/{name}"]
    for path in (*gone, *stay):
        (tmp_path / path).write_bytes(b"x")
    assert backend.sweep() == len(gone)
    assert not [path for path in gone if (tmp_path / path).exists()]
    assert all((tmp_path / path).exists() for path in stay)
    backend.close()


# -- connections that break


@both_clients
def test_killed_while_saving(server: SftpServer, tmp_path: Path, client: str) -> None:
    """A connection that breaks amid a save is worth another try, and the try removes what the first has left."""
    backend = opened(server, tmp_path / "r", client=client)
    backend.create()
    contents = [some_bytes(16 * MIB, seed=number) for number in range(4)]  # enough, however late the kill comes
    failures: list[BackendError] = []

    def save() -> None:
        for data in contents:
            try:
                backend.save(handle_of(data), content_of(data))
            except BackendError as error:
                failures.append(error)

    saving = threading.Thread(target=save)
    saving.start()
    wait_until(lambda: [path for path in left_overs(tmp_path / "r") if path.stat().st_size])
    ours = children(os.getpid(), "ssh")
    for process in ours or children(server.process.pid, "sshd"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert len(ours) == (client == "ssh")
    saving.join()
    (failure,) = failures
    assert not failure.permanent
    assert "lost" in str(failure)
    for data in contents:
        backend.save(handle_of(data), content_of(data))
        assert backend.load(handle_of(data)) == data
    backend.close()
    assert not left_overs(tmp_path / "r")


def test_stuck_server(tmp_path: Path) -> None:
    """A server that stands still is given up after the time limit, and the next call works with another connection."""
    with contextlib.closing(without_server(tmp_path)) as patient:
        patient.create()
        patient.save(CONFIG_HANDLE, content_of(b"config"))
    backend = without_server(tmp_path, timeout_s=2.0)

    def works() -> bool:
        """A machine under load may itself stand still for the time limit."""
        try:
            return backend.load(CONFIG_HANDLE) == b"config"
        except BackendError:
            return False

    wait_until(works)
    (stopped,) = children(os.getpid(), "sftp-server")
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(BackendError, match="no byte came") as caught:
        backend.load(CONFIG_HANDLE)
    assert not caught.value.permanent
    wait_until(works)
    backend.close()
    assert not children(os.getpid(), "sftp-server")


@pytest.fixture
def backup(server: SftpServer, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A backup to `r` in the middle of its first saves."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(10):
        (folder / str(number)).write_bytes(some_bytes(8 * MIB, seed=number))
    location = f"sftp:{server.location(tmp_path / 'r')}"
    limpet = str(Path(sys.executable).with_name("limpet"))
    command = [limpet, "--no-cache", "-o", f"sftp.args={server.arguments()}"]
    environment = {**os.environ, "LIMPET_PASSWORD": PASSWORD, "LIMPET_REPOSITORY": location}
    subprocess.run([*command, "init"], env=environment, check=True, capture_output=True)
    with subprocess.Popen(
        [*command, "backup", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as backup:
        wait_until(lambda: left_overs(tmp_path / "r" / "data") or backup.poll() is not None)
        yield backup


def test_backup_goes_on(backup: subprocess.Popen[str], restic_new: Restic, tmp_path: Path) -> None:
    """A backup whose ssh is killed in the middle ends complete, and restic finds nothing amiss."""
    os.kill(backup.pid, signal.SIGSTOP)  # it must not be done before its ssh is found
    for ssh in children(backup.pid, "ssh"):
        os.kill(ssh, signal.SIGKILL)
    os.kill(backup.pid, signal.SIGCONT)
    _, said = backup.communicate(timeout=300)
    assert backup.returncode == 0, said
    assert re.search("failed, trying again.*is lost", said)
    restic_new.run("check", "--read-data", repo=tmp_path / "r", password=PASSWORD)
    assert not left_overs(tmp_path / "r")


def test_interrupted_backup(backup: subprocess.Popen[str], restic_new: Restic, tmp_path: Path) -> None:
    """After Ctrl-C the connection still serves to take the lock away."""
    os.kill(backup.pid, signal.SIGINT)
    _, said = backup.communicate(timeout=300)
    assert backup.returncode == 130, said
    assert not list((tmp_path / "r/locks").iterdir())
    restic_new.run("check", "--read-data", repo=tmp_path / "r", password=PASSWORD)

"""How a run ends: exit codes, one line of error, signals, pipes; and how fast it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from limpet.cli.commands import COMMANDS
from limpet.cli.group import edit_distance
from limpet.cli.session import Session
from limpet.errors import SourceError

if TYPE_CHECKING:
    from .conftest import Run

PASSWORD = "geheim-5f3a"
HEAVY = {"cryptography", "zstandard", "orjson", "rich", "stevedore", "pluggy", "concurrent.futures", "multiprocessing"}


def test_version_imports_nothing_heavy() -> None:
    """`limpet version` and every completion in a shell would take half a second."""
    code = (
        f"import sys; from limpet.cli.main import main; main(['version']);print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines()[0].startswith("limpet ")
    assert printed.stdout.splitlines()[1] == "[]"


def test_version_document_has_restics_keys(run: Run) -> None:
    """Wrappers ask restic for its version as JSON before anything else."""
    document = run("version", "--json").document
    assert document["message_type"] == "version"
    assert set(document) == {"message_type", "version", "go_version", "go_os", "go_arch"}


def test_no_command_shows_the_commands(run: Run) -> None:
    """Somebody who starts it for the first time would see nothing."""
    ended = run()
    assert ended.exit_code == 0
    assert all(f"\n  {name} " in ended.out for name in COMMANDS)
    assert run("--help").out == ended.out == run("help").out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_loads_and_explains_itself(run: Run, name: str) -> None:
    """A command that cannot be imported would only be found by a user."""
    ended = run(name, "--help")
    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: limpet {name}")
    assert run("help", name).out == ended.out


def test_an_unknown_command_names_its_neighbour(run: Run) -> None:
    """A typing mistake would leave the user to search."""
    ended = run("snapshot")
    assert ended.exit_code == 1
    assert ended.err == 'unknown command "snapshot" for "limpet"\n\nDid you mean this?\n\tsnapshots\n'
    assert "key list" not in run("xyzzy").err
    assert edit_distance("restor", "restore") == 1


def test_error_document(run: Run, tmp_path: Path) -> None:
    """A program could not tell why the run failed."""
    ended = run("--json", "-r", tmp_path / "none", "--insecure-no-password", "snapshots")
    document = json.loads(ended.err)
    assert ended.exit_code == 10
    assert ended.out == ""
    assert (document["message_type"], document["code"]) == ("exit_error", 10)
    assert document["message"].startswith("Fatal: repository does not exist: unable to open config file")


def test_an_error_is_one_line_and_debug_shows_where(run: Run) -> None:
    """A user would be met with a traceback, or a developer would have none."""
    ended = run("ls")
    assert (ended.exit_code, ended.err.count("\n")) == (1, 1)
    assert "Traceback" in run("--debug", "ls").err


def test_a_bug_is_reported_as_one(run: Run, repository_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception would look like the user's mistake, or show its traceback to a person."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    monkeypatch.delattr("limpet.cli.commands.key.format_table")
    ended = run("-r", repository_path, "key", "list")
    assert ended.exit_code == 1
    assert ended.err.startswith("Fatal: unexpected NameError: ")
    assert ended.err.count("\n") == 1


def test_an_error_that_is_its_own_cause_is_told(
    run: Run, repository_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`raise error from error` in a plugin is a slip; a run that never ended after it was one, too."""

    def broken(*_: object) -> None:
        error = SourceError("its own cause")
        raise error from error

    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    monkeypatch.setattr("limpet.cli.commands.key.format_table", broken)
    ended = run("-r", repository_path, "key", "list")
    assert ended.exit_code == 1
    assert "its own cause" in ended.err


def test_wrong_password(run: Run, repository_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts that ask for the password again on exit code 12 would not."""
    monkeypatch.setenv("LIMPET_PASSWORD", "wrong-7c1e")
    ended = run("-r", repository_path, "snapshots")
    assert (ended.exit_code, ended.err) == (12, "Fatal: wrong password or no key found\n")


def limpet(*arguments: str | Path, **more: str) -> subprocess.Popen[bytes]:
    """A process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "limpet.cli.main", *arguments],
        env={**os.environ, "LIMPET_PASSWORD": PASSWORD, **more},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_cleanly(repository_path: Path, number: signal.Signals) -> None:
    """Ctrl-C would show a traceback, leave a lock behind, or end with an exit code that scripts do not know."""
    process = limpet("-r", repository_path, "backup", "--stdin", "--no-cache")
    locks = repository_path / "locks"
    deadline = time.monotonic() + 60
    while not any(locks.iterdir()):
        assert time.monotonic() < deadline, "no lock was taken"
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert b"received, cleaning up" in err
    assert not any(locks.iterdir())
    assert b"snapshot" not in out.replace(b"no parent snapshot", b"")


def test_what_is_imported_beside_the_key_is_there_when_the_repository_is(
    repository_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is forked in the middle of an import waits for ever for the thread that began it."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    session = Session()
    session.load_environment()
    session.options.repo = str(repository_path)
    ended = []

    def slow_import() -> None:
        time.sleep(0.3)
        ended.append(True)

    with click.Context(click.Command("any")):
        session.repository(meanwhile=slow_import)
    assert ended
    session.close()


def test_a_closed_pipe_ends_the_run_quietly(repository_path: Path) -> None:
    """`limpet ls | head` would end with a traceback."""
    process = limpet("-r", repository_path, "list", "keys", "--no-cache")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 141
    process.stderr.close()


SWALLOWED = """
import os, signal, sys, time
from limpet.cli.signals import Interrupts

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)

Interrupts().install()
try:
    Deaf()
    time.sleep(30)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupt_that_python_drops_comes_again() -> None:
    """Ctrl-C in the wrong microsecond, in a fork say, would do nothing, and the run would go on to its end."""
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, check=False, timeout=60)
    assert done.returncode == 130, done.stderr
    assert b"Traceback" not in done.stderr


LATE = """
import os, signal, sys
from limpet.cli import main

class Closing(main.Session):
    def close(self):
        for _ in range(int(sys.argv[1])):
            os.kill(os.getpid(), signal.SIGINT)
        super().close()

main.Session = Closing
sys.exit(main.main(["version"]))
"""


@pytest.mark.parametrize(("signals", "exit_code"), [(1, 0), (3, 130)])
def test_an_interrupt_after_the_run_does_not_stop_the_clean_up(signals: int, exit_code: int) -> None:
    """Ctrl-C while the repository is closed must not end in a traceback, with what is open left as it is."""
    done = subprocess.run([sys.executable, "-c", LATE, str(signals)], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (exit_code, b"")
    assert done.stdout.startswith(b"limpet ") or signals > 1


WRAPPED = """
import sys
from limpet.cli import main

class Interrupted:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt  # as the signal's handler does, while a class of a plugin is made

def run(session, arguments):
    try:
        class Plugin:
            field = Interrupted()
    except Exception as error:
        raise ValueError("cannot be imported") from error

main._run_with_hooks = run
sys.exit(main.main(["version"]))
"""


def test_an_interrupt_that_comes_as_another_error() -> None:
    """Python 3.11 makes an error of an interrupt while a class is made: scripts look for 130 all the same."""
    done = subprocess.run([sys.executable, "-c", WRAPPED], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"interrupted\n")


AT_THE_VERY_END = """
import os, signal, sys
from limpet.cli import main

class Last:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGTERM):
        kill(process, number)

sys.last = Last()  # collected when Python takes its modules apart
sys.argv = ["limpet", "version"]
main.run()
"""


def test_signal_after_the_end() -> None:
    """A scheduler that loses patience in the last millisecond must not see a failed backup."""
    done = subprocess.run([sys.executable, "-c", AT_THE_VERY_END], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


A_THREAD_HANGS = """
import atexit, sys, threading
from concurrent.futures import ThreadPoolExecutor
from limpet.cli import main

ThreadPoolExecutor(1).submit(threading.Event().wait)
atexit.register(print, "removed what a plugin has left")
sys.argv = ["limpet", *sys.argv[1:]]
main.run()
"""


@pytest.mark.parametrize(("command", "exit_code"), [("version", 0), ("no-such-command", 1)])
def test_a_thread_that_hangs_at_the_end(command: str, exit_code: int) -> None:
    """A storage that is dead would keep the process for ever, or its end would skip what others do at theirs."""
    done = subprocess.run([sys.executable, "-c", A_THREAD_HANGS, command], capture_output=True, check=False, timeout=60)
    assert done.returncode == exit_code, done.stderr
    assert bool(done.stderr) == bool(exit_code)
    assert done.stdout.startswith(b"limpet ") != bool(exit_code)
    assert done.stdout.endswith(b"removed what a plugin has left\n")

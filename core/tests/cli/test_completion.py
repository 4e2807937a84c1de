"""Completion in real shells on a terminal of their own, and what their scripts are answered."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Run

TIMEOUT_S = 60.0
LOAD = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "--interactive"],
}
SETUP = {
    "bash": "source {script}",
    "zsh": "autoload -Uz compinit && compinit -u -D && source {script}",
    "fish": "source {script}",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with `limpet` in its folder `bin`, and a file whose name has a space."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "limpet"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom limpet.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)
    (tmp_path / "old photos").mkdir()
    return tmp_path


@pytest.mark.parametrize("shell", LOAD)
def test_a_shell_completes(shell: str, home: Path, run: Run) -> None:
    """Who presses Tab would get nothing, or a screen full of errors."""
    if shutil.which(shell) is None:
        reason = f"no {shell} here"
        pytest.fail(reason) if os.environ.get("LIMPET_REQUIRE_SERVICES") == "1" else pytest.skip(reason)
    script = home / f"completion.{shell}"
    assert run("generate", "--quiet", f"--{shell}-completion", script).exit_code == 0
    # A command by its first letters, a flag, a value, then a path: only if all are completed it does what it should.
    typed = "limpet feat\t> features.txt; limpet ver\t--js\t> version.txt; limpet -r x init --compression bet\t"
    typed += " --password-file old\t 2> init.txt; exit"
    with Terminal(LOAD[shell], home) as terminal:
        terminal.type(f"{SETUP[shell].format(script=script)}\r")
        terminal.type("echo ready > ready.txt\r")
        terminal.wait_for(home / "ready.txt")
        terminal.type(f"{typed}\r")
        terminal.wait_for(home / "init.txt")
        terminal.wait()
    assert (home / "features.txt").read_text().startswith("All Feature Flags")
    assert (home / "version.txt").read_text().startswith('{"message_type"')
    assert "Is a directory" in (home / "init.txt").read_text()


def test_bash_completes_whatever_the_program_is_called(home: Path, run: Run) -> None:
    """With `alias restic=limpet` the name that was typed is no program."""
    script = run("generate", "--bash-completion", "-").out
    program = f"{script}\nCOMP_WORDS=(restic snap) COMP_CWORD=1; _limpet_completion restic; echo ${{COMPREPLY[@]}}"
    environment = {**os.environ, "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == "snapshots\n", done.stderr


@pytest.mark.parametrize(
    ("before", "incomplete", "found"),
    [
        ([], "self", {"self-update"}),
        (["-r", "x", "key"], "pa", {"passwd"}),
        (["snapshots"], "--compr", {"--compression"}),
        (["snapshots", "--compression"], "m", {"max"}),
        (["nonsense"], "--nothing", set()),
    ],
)
def test_answers(
    run: Run, monkeypatch: pytest.MonkeyPatch, before: list[str], incomplete: str, found: set[str]
) -> None:
    """PowerShell, which is not at hand here, is asked for in the form its script uses."""
    monkeypatch.setenv("_LIMPET_COMPLETE", "powershell_complete")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["limpet", *before]))
    monkeypatch.setenv("COMP_INCOMPLETE", incomplete)
    ended = run()
    assert ended.exit_code == 0, ended.err
    lines = [line.split("\t") for line in ended.out.splitlines() if line]
    assert {value for kind, value, _ in lines if kind == "plain"} == found


def test_nonsense_from_a_script(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that somebody left behind must not make a backup print completions and end well."""
    monkeypatch.setenv("_LIMPET_COMPLETE", "tcsh_complete")
    ended = run("version")
    assert (ended.exit_code, ended.out) == (1, "")
    assert "only scripts of `limpet generate` set it" in ended.err


class Terminal:
    """A program on a terminal of its own: what is typed goes there, what it shows is dropped."""

    def __init__(self, arguments: list[str], home: Path) -> None:
        self._arguments = arguments
        self._home = home

    def __enter__(self) -> Terminal:
        process, self._descriptor = pty.fork()
        if not process:
            os.chdir(self._home)
            own = {name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_"))}
            path = f"{self._home / 'bin'}{os.pathsep}{os.environ['PATH']}"
            environment = {**own, "PATH": path, "HOME": str(self._home), "TERM": "dumb", "LIMPET_PASSWORD": "x"}
            os.execvpe(self._arguments[0], self._arguments, environment)
        self._process = process
        os.set_blocking(self._descriptor, False)
        self._shown = b""
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        os.waitpid(self._process, 0)

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._descriptor, text.encode())

    def wait_for(self, file: Path) -> None:
        """Until the file is there and has something in it."""
        for _ in self._moments():
            if file.exists() and file.stat().st_size:
                return

    def wait(self) -> None:
        """Until the program is gone from its terminal."""
        for is_open in self._moments():
            if not is_open:
                return

    def _moments(self) -> Iterator[bool]:
        """Whether the terminal is still in use, again and again; AssertionError when it has taken too long."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                while shown := os.read(self._descriptor, 65536):
                    self._shown += shown
            except BlockingIOError:
                yield True
            except OSError:
                yield False
            time.sleep(0.05)
        raise AssertionError(f"nothing came of it: {self._shown.decode(errors='replace')}")

"""A bash that runs documented commands one after the other, and the comparison of what it says with what is shown."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

TIMEOUT_S = 300.0
SHOWN_HOME, SHOWN_USER, SHOWN_HOST = "/home/anna", "anna", "laptop"
"""The documentation's own machine; what the real one is called is written that way before it is compared."""
_END = "\x1e"

# What is another in every run, or on every machine: only its form is compared.
_VARIABLE = [
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4} \w+|Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b\d+:\d\d\b|\b\d+(\.\d+)?(µs|ms|s)\b"), "<duration>"),
    (re.compile(r"\b\d+(\.\d+)? +([KMGT]i)?B\b"), "<size>"),
    (re.compile(r"\b([0-9a-f]{64}|[0-9a-f]{10}|[0-9a-f]{8})\b"), "<id>"),
    (re.compile(r"-{5,}"), "-----"),
    (re.compile(r"\s+"), " "),
]


class Shell:
    """One bash for a whole page: variables, aliases and the folder last from one command to the next."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self.home = home
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_", "XDG_"))
        }
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=home,
            env={**kept, "HOME": str(home), "TZ": "UTC", "LC_ALL": "C.UTF-8", **environment},
            start_new_session=True,
        )
        self._exit_code = 0
        self._write("shopt -s expand_aliases\n")

    def run(self, command: str) -> tuple[int, list[str]]:
        """Exit code and lines of one command, errors among the lines; AssertionError if it does not end."""
        # The subshell gives the next command the `$?` that it asks for.
        self._write(f"(exit {self._exit_code}); eval {shlex.quote(command)} < /dev/null\nprintf '{_END}%d{_END}' $?\n")
        text = self._read(command)
        output, code, _ = text.rsplit(_END, 2)
        self._exit_code = int(code)
        return self._exit_code, output.splitlines()

    def as_shown(self, line: str) -> str:
        """The line as it would be on the documentation's own machine."""
        line = line.replace(str(self.home), SHOWN_HOME)
        for real, shown in ((socket.gethostname(), SHOWN_HOST), (pwd.getpwuid(os.getuid()).pw_name, SHOWN_USER)):
            line = re.sub(rf"(?<![\w/.-]){re.escape(real)}(?![\w/-])", shown, line)
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGTERM)  # a mount or a server in the background ends in good order
        self._bash.kill()
        self._bash.wait()
        self._bash.stdin.close()
        self._bash.stdout.close()

    def _write(self, text: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(text.encode())
        self._bash.stdin.flush()

    def _read(self, command: str) -> str:
        assert self._bash.stdout is not None
        descriptor = self._bash.stdout.fileno()
        deadline = time.monotonic() + TIMEOUT_S
        read = b""
        while read.count(_END.encode()) < 2:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(descriptor, 65536) if ready else b""
            assert piece, f"no end of `{command}`, only: {read.decode(errors='replace')}"
            read += piece
        return read.decode(errors="replace")


def same(shown: Sequence[str], real: Sequence[str]) -> bool:
    """Whether the lines are those shown. `...` stands for any text, on a line of its own for any number of lines."""
    pattern = ""
    for line in shown:
        if line.strip() == "...":
            pattern += "(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*".join(re.escape(piece) for piece in _form(line).split("...")) + "\n"
    return re.fullmatch(pattern, "".join(_form(line) + "\n" for line in real)) is not None


def _form(line: str) -> str:
    for variable, word in _VARIABLE:
        line = variable.sub(word, line)
    return line.strip()

"""Runs a real restic, the judge of everything that is about the format."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 300


class Restic:
    """One restic binary. Each call is a fresh process without cache and without the caller's RESTIC_ variables."""

    def __init__(self, binary: Path) -> None:
        self.binary = binary

    def __repr__(self) -> str:
        return f"Restic({str(self.binary)!r})"

    def version(self) -> str:
        """The bare version, such as `0.19.1`."""
        printed = subprocess.run(
            [self.binary, "version"], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
        )
        return printed.stdout.split()[1]

    def run(
        self,
        *args: str | Path,
        repo: str | Path,
        password: str,
        check: bool = True,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """The finished process with its output; with `check` AssertionError, showing the output, if it failed."""
        done = subprocess.run(
            [self.binary, "--no-cache", *args],
            env=self._environment(repo, password, env or {}),
            cwd=cwd,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            check=False,
            timeout=TIMEOUT_S,
        )
        if check and done.returncode != 0:
            command = " ".join(str(arg) for arg in args)
            output = (done.stdout + done.stderr).decode(errors="replace")
            raise AssertionError(f"restic {command} ended with {done.returncode}:\n{output}")
        return done

    def start(
        self, *args: str | Path, repo: str | Path, password: str, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """The running process with pipes for stdin, stdout and stderr; the caller ends it (it is a context manager)."""
        return subprocess.Popen(
            [self.binary, "--no-cache", *args],
            env=self._environment(repo, password, {}),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def json(self, *args: str | Path, repo: str | Path, password: str, cwd: Path | None = None) -> Any:
        """What the command prints with `--json`: the document, or for several lines a list of theirs."""
        lines = self.run("--json", *args, repo=repo, password=password, cwd=cwd).stdout.splitlines()
        documents = [json.loads(line) for line in lines if line.strip()]
        return documents[0] if len(documents) == 1 else documents

    def cat(self, kind: str, *names: str, repo: str | Path, password: str) -> bytes:
        """The bytes that `restic cat` prints: for a blob its plaintext, for the other kinds indented JSON."""
        return self.run("cat", kind, *names, repo=repo, password=password).stdout

    def _environment(self, repo: str | Path, password: str, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "LIMPET_"))}
        return {**kept, "RESTIC_REPOSITORY": str(repo), "RESTIC_PASSWORD": password, **more}

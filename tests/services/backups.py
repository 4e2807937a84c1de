"""Backups by the command line for the tests of hooks: run to their end, held in the middle, beside a busy writer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limpet import registry
from limpet.cli.main import main
from limpet.repository.repository import Repository
from limpet.testing.backups import cheap_kdf

PASSWORD = "secret"
LIMIT_S = 300.0
_PROGRAM = "import sys; from limpet.cli.main import main; sys.exit(main())"


class Backups:
    """A repository in a folder, and the command line on it."""

    def __init__(self, folder: Path, *, programs: Path | None = None, forked: bool = False) -> None:
        """What is in the folder `programs` goes before all other programs.

        With `forked`, commands that are waited for are run in copies of this process, which imports nothing anew.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.repository = folder / "repository"
        self.folder = folder
        self._programs = programs
        self._forked = forked
        Repository.create(registry.open_backend(str(self.repository)), PASSWORD, kdf=cheap_kdf()).close()

    def limpet(self, *arguments: str | Path, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        """The finished command; the test fails if it does not end with this code."""
        if self._forked:
            done = run_forked(self._words(arguments), self._environment(), self.folder)
        else:
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, *self._words(arguments)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=LIMIT_S,
            )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done

    def backup(self, *arguments: str | Path, exit_code: int = 0) -> dict[str, Any]:
        """The figures of a backup; with another exit code its messages as `stderr`."""
        done = self.limpet("--json", "backup", *arguments, exit_code=exit_code)
        summary = [json.loads(line) for line in done.stdout.splitlines() if '"summary"' in line]
        return {**(summary[0] if summary else {}), "stderr": done.stderr}

    def snapshots(self) -> list[dict[str, Any]]:
        """What the repository holds."""
        found: list[dict[str, Any]] = json.loads(self.limpet("snapshots", "--json").stdout)
        return found

    def restored(self, path: Path, snapshot: str = "latest") -> Path:
        """The folder of a snapshot, restored, at another place."""
        target = self.folder / f"restored-{time.monotonic_ns()}"
        self.limpet("restore", f"{snapshot}:{path}", "--target", target)
        return target

    @contextmanager
    def held(self, *arguments: str | Path) -> Iterator[HeldBackup]:
        """A backup that reads the arguments and then waits until it is let go; it ends with the context."""
        fifo = self.folder / f"fifo-{time.monotonic_ns()}"
        os.mkfifo(fifo)
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *self._words(["backup", *arguments, f"command:zz-held=cat {fifo}"])],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        held = HeldBackup(process, fifo)
        try:
            yield held
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _words(self, arguments: Sequence[str | Path]) -> list[str]:
        return ["--no-cache", "-r", str(self.repository), *map(str, arguments)]

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("LIMPET_", "RESTIC_"))}
        if self._programs is not None:
            own["PATH"] = f"{self._programs}:{own['PATH']}"
        return {**own, "LIMPET_PASSWORD": PASSWORD, "HOME": str(self.folder)}


def run_forked(words: Sequence[str], environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line, run in a copy of this process."""
    outputs = [folder / f"output-{time.monotonic_ns()}-{number}" for number in (1, 2)]
    pid = os.fork()
    if not pid:
        code = 99
        try:
            for number, path in enumerate(outputs, 1):
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
                os.dup2(descriptor, number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.environ.clear()
            os.environ.update(environment)
            sys.argv[1:] = words
            code = main(list(words))
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    out, err = (path.read_text() for path in outputs)
    return subprocess.CompletedProcess(words, os.waitstatus_to_exitcode(status), out, err)


class HeldBackup:
    """A backup that waits for something to read."""

    def __init__(self, process: subprocess.Popen[str], fifo: Path) -> None:
        self.process = process
        self._fifo = fifo

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Return when it is fulfilled; the test fails if the backup ends before."""
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline, "it did not come to that"
            time.sleep(0.02)

    def wait_until_it_reads(self) -> None:
        """Return when it has come to what it is held by: everything was prepared."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                self._writer = os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads there yet
                assert self.process.poll() is None, self.process.communicate()[0]
                assert time.monotonic() < deadline, "it did not come to that"
                time.sleep(0.02)
            else:
                return

    def let_go(self) -> tuple[int, str]:
        """Its exit code and what it said, once it went on to its end."""
        os.write(self._writer, b"x")
        os.close(self._writer)
        output, _ = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, output

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """The same after a signal."""
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, output


class BusyWriter:
    """Replaces one file after the other, round and round: at any one moment their numbers are without a gap."""

    FILES = 100
    PAUSE_S = 0.0005
    """Others need the processor too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spare = folder.parent / f".spare-{folder.name}"
        self._stop = threading.Event()
        self._number = 0
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(self.FILES):
            self._write()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> BusyWriter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @classmethod
    def numbers(cls, folder: Path) -> list[int]:
        """What the files say, sorted."""
        return sorted(int(file.read_text()) for file in folder.iterdir())

    @classmethod
    def assert_one_moment(cls, folder: Path) -> int:
        """The last number; the test fails if the files are not as they were at one moment."""
        numbers = cls.numbers(folder)
        assert len(numbers) == cls.FILES
        assert numbers == list(range(numbers[0], numbers[0] + cls.FILES))
        return numbers[-1]

    def _work(self) -> None:
        while not self._stop.wait(self.PAUSE_S):
            self._write()

    def _write(self) -> None:
        self._spare.write_text(str(self._number))
        os.replace(self._spare, self._folder / f"{self._number % self.FILES:03}")
        self._number += 1

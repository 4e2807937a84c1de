"""A planned run carried out: one process for each command, one after the other, the worst exit code in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass

from limpet.cli.configuration.expansion import Text
from limpet.cli.configuration.plan import PlannedCommand
from limpet.cli.configuration.profiles import Profile
from limpet.cli.exits import EXIT_FAILED, EXIT_INCOMPLETE
from limpet.cli.json_output import encode_json
from limpet.cli.options import SECRET_OPTIONS_VARIABLE
from limpet.errors import LimpetError

SKIPPED = None
LAST_WORDS_S = 1.0
_DROPPED = ("REPOSITORY", "REPOSITORY_FILE", "HOOKS")
_DROPPED_WITH_PASSWORD = ("PASSWORD", "PASSWORD_FILE", "PASSWORD_COMMAND")
PROFILE_VARIABLE = "LIMPET_PROFILE"
"""Tells the hooks of the commands which profile they belong to."""
_PREFIXES = ("LIMPET_", "RESTIC_")


@dataclass(frozen=True, slots=True)
class Ended:
    """How one command ended; None for the exit code where it was left out because an earlier one had failed."""

    planned: PlannedCommand
    exit_code: int | None
    duration_s: float = 0.0

    @property
    def words(self) -> str:
        """Its end in a word or two."""
        if self.exit_code is SKIPPED:
            return "left out, as an earlier command failed here"
        return {0: "ok", EXIT_INCOMPLETE: "incomplete (exit code 3)"}.get(
            self.exit_code, f"failed (exit code {self.exit_code})"
        )


@contextmanager
def surroundings(profile: Profile) -> Iterator[None]:
    """Inside it we are where the profile's commands run: in its folder, with its variables; its own hooks, too.

    ConfigurationError where a variable's secret cannot be had.
    """
    values = {
        name: given.value if isinstance(given, Text) else given.read(profile.folder)
        for name, given in profile.environment.items()
    }
    before = {name: os.environ.get(name) for name in values}
    with chdir(profile.folder):
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def worst(exit_codes: Sequence[int]) -> int:
    """The exit code of the whole: 0 if all went well, 3 if some was incomplete, else the first failure's."""
    failures = [code for code in exit_codes if code not in {0, EXIT_INCOMPLETE}]
    return failures[0] if failures else max(exit_codes, default=0)


class Execution:
    """Runs the commands, inside of `surroundings`.

    After a failure the repository it happened in is left alone, the others go on.
    `begin` is told of each before it runs, `warn` of what keeps one from running; `listen`, where given, gets the lines
    of their standard error, which else is ours. Children inherit `lock`.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        begin: Callable[[PlannedCommand], None],
        warn: Callable[[str], None],
        lock: int | None = None,
        shows_results: bool = True,
        listen: Callable[[str], None] | None = None,
    ) -> None:
        self._profile = profile.name
        self._folder = profile.folder
        self._listen = listen
        self._held = () if lock is None else (lock,)
        self._output = None if shows_results else subprocess.DEVNULL
        self._begin = begin
        self._warn = warn

    def run(self, planned: Sequence[PlannedCommand]) -> list[Ended]:
        """How each of them ended. KeyboardInterrupt is passed on when the command that runs has cleaned up."""
        ended: list[Ended] = []
        failed: set[str] = set()
        for command in planned:
            if command.repository in failed:
                ended.append(Ended(command, SKIPPED))
                continue
            self._begin(command)
            started = time.monotonic()
            exit_code = self._exit_code(command)
            if exit_code not in {0, EXIT_INCOMPLETE}:
                failed.add(command.repository)
            ended.append(Ended(command, exit_code, time.monotonic() - started))
        return ended

    def _exit_code(self, command: PlannedCommand) -> int:
        try:
            environment = self._environment(command)
        except LimpetError as error:  # a secret that cannot be had: the other repositories may have theirs
            self._warn(f"Fatal: {error}")
            return error.exit_code
        # -P: a folder named `limpet` where the configuration is must not be taken for the program.
        argv = [sys.executable, "-P", "-m", "limpet.cli.main", *(word.value for word in command.words)]
        try:
            process = subprocess.Popen(
                argv,
                env=environment,
                stdout=self._output,
                stderr=subprocess.PIPE if self._listen else None,
                pass_fds=self._held,
            )
        except OSError as error:
            self._warn(f"Fatal: cannot start limpet {command.command}: {error}")
            return EXIT_FAILED
        with _listening(process, self._listen):
            try:
                code = process.wait()
            except BaseException:
                _stop(process)
                raise
        return code if code >= 0 else 128 - code

    def _environment(self, command: PlannedCommand) -> Mapping[str, str]:
        """The caller's environment, without what the profile decides; with the secrets, which are read now."""
        dropped = [*_DROPPED, *(_DROPPED_WITH_PASSWORD if command.drops_password else ())]
        gone = {prefix + name for prefix in _PREFIXES for name in dropped}
        values = {name: value for name, value in os.environ.items() if name not in gone}
        values[PROFILE_VARIABLE] = self._profile
        for name, given in command.environment.items():
            values[name] = given.value if isinstance(given, Text) else given.read(self._folder)
        if command.secret_options:
            secrets = {option.name: option.read(self._folder) for option in command.secret_options}
            values[SECRET_OPTIONS_VARIABLE] = encode_json(secrets)
        return values


@contextmanager
def _listening(process: subprocess.Popen[bytes], listen: Callable[[str], None] | None) -> Iterator[None]:
    """Inside it `listen` gets each line of the command's standard error."""
    if listen is None:
        yield
        return
    pipe = process.stderr
    assert pipe is not None

    def pass_on() -> None:
        with suppress(ValueError):  # closed
            for line in pipe:
                listen(line.decode("utf-8", "surrogateescape").removesuffix("\n"))

    thread = threading.Thread(target=pass_on, name="stderr", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # What the command said is there by now; something it left behind, an ssh say, may keep the pipe open.
        thread.join(LAST_WORDS_S)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Have the command end with its clean-up, however long that takes; Ctrl-C may have reached it already."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait()

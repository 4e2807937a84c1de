"""`ShellHook`: a command line before the run, one after it went well, one after it failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from limpet.contracts.hooks import Hook, RunInfo, RunResult, hookimpl
from limpet.contracts.options import Option, Options
from limpet.errors import UsageError

from limpet_hook_shell.environment import hook_environment
from limpet_hook_shell.execution import run_command_line


class ShellHook(Hook):
    """Runs command lines of the user's shell before and after a run."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("before", "command line to run before the work; its failure stops the run"),
        Option("after", "command line to run after the run ended with exit code 0 or 3"),
        Option("failed", "command line to run after the run failed"),
        Option("commands", "only for these commands, commas between: `backup,forget`", default=""),
        Option("timeout", "how long each command line may take", type="duration", default=3600.0),
        Option("pass_environment", "variables that look secret and are passed on all the same, commas between"),
    )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        timeout_s = options.get("timeout")
        if not isinstance(timeout_s, int | float) or timeout_s <= 0:
            raise UsageError(f"option shell.timeout must be longer than nothing, not {timeout_s!r}")
        self._timeout_s = float(timeout_s)
        self._commands = _words(options.get("commands"))
        self._passed = _words(options.get("pass_environment"))

    @hookimpl
    def limpet_run_started(self, run: RunInfo) -> None:
        """Run `before`; an error stops the run."""
        self._run("before", run, None)

    @hookimpl
    def limpet_run_finished(self, run: RunInfo, result: RunResult) -> None:
        """Run `after`."""
        self._run("after", run, result)

    @hookimpl
    def limpet_run_failed(self, run: RunInfo, result: RunResult) -> None:
        """Run `failed`."""
        self._run("failed", run, result)

    def _run(self, moment: str, run: RunInfo, result: RunResult | None) -> None:
        line = self.settings.get(moment)
        if not line or (self._commands and run.command not in self._commands):
            return
        run_command_line(str(line), hook_environment(moment, run, result, passed=self._passed), self._timeout_s)


def _words(text: object) -> frozenset[str]:
    return frozenset(word.strip() for word in str(text or "").split(",") if word.strip())

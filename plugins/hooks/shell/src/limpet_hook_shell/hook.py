"""`ShellHook`: a command line at each moment of a run, and of each source in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

from limpet.contracts.hooks import COMMANDS, Hook, RunInfo, RunResult, concerns, hookimpl
from limpet.contracts.options import Option, Options
from limpet.errors import HookError, UsageError

from limpet_hook_shell.execution import run_command_line
from limpet_hook_shell.moment import Moment, SourceFacts, safe_environment


class ShellHook(Hook):
    """Runs command lines of the user's shell before and after a run, and each of its sources."""

    contract_version: ClassVar[int] = 1
    limits_its_time: ClassVar[bool] = True
    options: ClassVar[Sequence[Option]] = (
        Option("before", "command line to run before the work; its failure stops the run"),
        Option("after", "command line to run after the run ended with exit code 0 or 3"),
        Option("failed", "command line to run after the run failed, or `after` did"),
        Option("finally", "command line to run last, however the run ended"),
        Option("source_before", "command line to run for each source, before any is read"),
        Option("source_after", "command line to run for each source once the snapshot is saved"),
        Option("source_failed", "command line to run for each source if the snapshot is not saved"),
        Option("source_finally", "command line to run for each source in any case, after the two"),
        COMMANDS,
        Option("timeout", "how long each command line may take", type="duration", default=3600.0),
        Option("pass_environment", "variables that look secret and are passed on all the same, commas between"),
    )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        timeout_s = options.get("timeout")
        if not isinstance(timeout_s, int | float) or timeout_s <= 0:
            raise UsageError(f"option shell.timeout must be longer than nothing, not {timeout_s!r}")
        self._timeout_s = float(timeout_s)
        names = str(options.get("pass_environment") or "").split(",")
        self._passed = frozenset(name.strip() for name in names)

    @hookimpl
    def limpet_run_started(self, run: RunInfo) -> None:
        """Run `before`; an error stops the run."""
        self._run(Moment("before", run))

    @hookimpl
    def limpet_source_prepare(self, run: RunInfo, path: str, scheme: str) -> None:
        """Run `source_before`; an error stops the run."""
        self._run(Moment("source_before", run, SourceFacts(scheme, path)))

    @hookimpl
    def limpet_source_release(self, run: RunInfo, path: str, scheme: str, error: str | None) -> None:
        """Run `source_after` or `source_failed`, and `source_finally`."""
        source = SourceFacts(scheme, path, error)
        how = "source_after" if error is None else "source_failed"
        self._run_both(Moment(how, run, source), Moment("source_finally", run, source))

    @hookimpl
    def limpet_run_finished(self, run: RunInfo, result: RunResult) -> None:
        """Run `after`."""
        self._run(Moment("after", run, result=result))

    @hookimpl
    def limpet_run_ended(self, run: RunInfo, result: RunResult) -> None:
        """Run `failed` if anything went wrong up to here, and `finally`."""
        last = Moment("finally", run, result=result)
        if result.is_good:
            self._run(last)
        else:
            self._run_both(Moment("failed", run, result=result), last)

    def _run_both(self, first: Moment, last: Moment) -> None:
        """Run the one, and the other whatever came of it; HookError tells of both."""
        try:
            self._run(first)
        except HookError as error:
            try:
                self._run(last)
            except HookError as another:
                raise HookError(f"{error}; {another}") from another
            raise
        except BaseException:
            self._run(last)
            raise
        self._run(last)

    def _run(self, moment: Moment) -> None:
        line = self.settings.get(moment.name)
        if line and concerns(self.settings, moment.run):
            environment = safe_environment(os.environ, moment.variables(), self._passed)
            try:
                run_command_line(str(line), environment, moment.document(), self._timeout_s)
            except HookError as error:
                # The line itself stays here: it may hold a secret, and the error is sent to monitors.
                raise HookError(f"the command of shell.{moment.name} {error}") from error

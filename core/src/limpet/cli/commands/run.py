"""`limpet run`: what a profile of the configuration says, one command after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import click

from limpet.cli.configuration.command_line import given_options, passed_on
from limpet.cli.configuration.execution import SKIPPED, Ended, Execution, surroundings, worst
from limpet.cli.configuration.loading import config_option, load_configuration, profile_argument
from limpet.cli.configuration.plan import PlannedCommand, options_of_run, plan
from limpet.cli.configuration.profile_lock import profile_lock
from limpet.cli.configuration.profiles import RUN, Profile
from limpet.cli.exits import EXIT_INCOMPLETE, CommandExit
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table
from limpet.operations.hooks import NoHooks


@click.command("run")
@config_option
@click.option("-n", "--dry-run", is_flag=True, help="do not write anything, just show what would be done")
@profile_argument
@pass_session
def command(session: Session, /, *, profile: str, config: str | None, dry_run: bool) -> None:
    """Back up what PROFILE of the configuration says, then apply its retention and its checks.

    Each step is run as the ordinary command: first the backup into every repository, then `forget`, `prune` and
    `check` where the profile has them. After a failure the repository it happened in is left alone; the others go on.
    The exit code is the worst of all, or 75 where the profile is running already.
    """
    _Run(session, config, profile, dry_run=dry_run).go()


class _Run:
    """One run of a profile."""

    def __init__(self, session: Session, config: str | None, name: str, *, dry_run: bool) -> None:
        self._session = session
        configuration = load_configuration(config)
        self._profile = configuration.profile(name)
        self._extra = given_options(session.options, self._profile.place)
        flags = passed_on(click.get_current_context(), session.options)
        self._planned = plan(self._profile, extra_flags=flags, extra_options=self._extra, dry_run=dry_run)
        self._number = itertools.count(1)
        self._lock = session.hold(profile_lock(configuration.file, name))
        session.hold(surroundings(self._profile))

    def go(self) -> None:
        """Run all commands; CommandExit with the worst exit code if that is not 0."""
        session = self._session
        self._take_hooks(self._profile)
        hooks = session.hooks()
        execution = Execution(
            self._profile,
            begin=self._begin,
            warn=session.terminal.error,
            lock=self._lock,
            # For their report of what went wrong; without them a terminal stays a terminal for the commands.
            listen=None if isinstance(hooks, NoHooks) else session.terminal.error,
        )
        ended = execution.run(self._planned)
        for one in ended:
            session.terminal.log.add(f"{one.planned.command} in {one.planned.repository}: {one.words}")
        session.figures = _figures(ended)
        exit_code = worst([one.exit_code for one in ended if one.exit_code is not SKIPPED])
        self._tell(ended, exit_code)
        if exit_code:
            what = "incomplete" if exit_code == EXIT_INCOMPLETE else "failed"
            raise CommandExit(exit_code, f"profile {self._profile.name!r}: {what}, {_counted(ended)}")

    def _take_hooks(self, profile: Profile) -> None:
        """The hooks around the whole run; the session tells them, as in any command."""
        options = self._session.options
        hooks = list(dict.fromkeys([*profile.hooks.get(RUN, ()), *options.hook]))
        own = options_of_run(profile, self._extra, hooks)
        self._session.profile = profile.name
        self._session.options = replace(
            options,
            repo=", ".join(repository.location.shown for repository in profile.repositories),
            repository_file=None,
            hook=hooks,
            option=[f"{option.name}={option.read(profile.folder)}" for option in own],
        )

    def _begin(self, planned: PlannedCommand) -> None:
        step, steps = next(self._number), len(self._planned)
        if self._session.json:
            document = {"message_type": "run_step", "step": step, "steps": steps, **_document(planned)}
            self._session.print_json(document)
        else:
            self._session.say(f"[{step}/{steps}] {planned.command}: {planned.repository}")
        self._session.terminal.flush()

    def _tell(self, ended: Sequence[Ended], exit_code: int) -> None:
        if self._session.json:
            commands = [
                {**_document(one.planned), "exit_code": one.exit_code, "seconds": round(one.duration_s, 3)}
                for one in ended
            ]
            self._session.print_json(
                {
                    "message_type": "run_summary",
                    "profile": self._profile.name,
                    "exit_code": exit_code,
                    "commands": commands,
                }
            )
            return
        rows = [[one.planned.command, one.planned.repository, one.words] for one in ended]
        self._session.say("\n" + format_table(["Command", "Repository", "Result"], rows))


def _document(planned: PlannedCommand) -> dict[str, str]:
    return {"command": planned.command, "repository": planned.repository}


def _figures(ended: Sequence[Ended]) -> dict[str, int | float | str]:
    """What the hooks around the run are told of it."""
    return {
        "commands": len(ended),
        "commands_ok": sum(one.exit_code == 0 for one in ended),
        "commands_incomplete": sum(one.exit_code == EXIT_INCOMPLETE for one in ended),
        "commands_failed": sum(one.exit_code not in {0, EXIT_INCOMPLETE, SKIPPED} for one in ended),
        "commands_left_out": sum(one.exit_code is SKIPPED for one in ended),
    }


def _counted(ended: Sequence[Ended]) -> str:
    bad = [one for one in ended if one.exit_code not in {0, SKIPPED}]
    return ", ".join(f"{one.planned.command} in {one.planned.repository}: exit code {one.exit_code}" for one in bad)

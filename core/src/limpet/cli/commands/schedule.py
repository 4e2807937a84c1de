"""`limpet schedule install|list|remove`: profiles run by systemd's timers or by cron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

import click

from limpet.cli.configuration.loading import complete_profiles, config_option, load_configuration, profile_argument
from limpet.cli.configuration.plan import plan
from limpet.cli.group import LimpetGroup
from limpet.cli.scheduling import systemd
from limpet.cli.scheduling.cron import CronKeeper
from limpet.cli.scheduling.job import Job, JobKeeper, Scope
from limpet.cli.scheduling.times import when_of
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table
from limpet.errors import UsageError

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _scope_flags(decorated: Decorated) -> Decorated:
    """Add --user and --system as `scope`."""
    for scope, text in ((Scope.SYSTEM, "for the system (default for root)"), (Scope.USER, "for yourself (default)")):
        decorated = click.option(f"--{scope.value}", "scope", flag_value=scope.value, help=text)(decorated)
    return decorated


@click.group("schedule", cls=LimpetGroup)
def command() -> None:
    """Have profiles run by systemd or cron."""


@command.command("install")
@config_option
@_scope_flags
@click.option("--cron", is_flag=True, help="use cron, also where systemd runs")
@click.option("--no-start", is_flag=True, help="write and enable units for systemd, but ask none to start the timer")
@profile_argument
@pass_session
def install_command(
    session: Session, profile: str, config: str | None, scope: str | None, *, cron: bool, no_start: bool
) -> None:
    """Have PROFILE run at the times that its table `schedule` says, and show the next ones.

    A timer of systemd's starts it, or cron where no systemd runs. Done again, it renews what is there.
    """
    configuration = load_configuration(config)
    resolved = configuration.profile(profile)
    plan(resolved)  # what cannot be run need not be scheduled
    if resolved.schedule is None:
        raise resolved.place.mistake('has no table `schedule` with `at = "..."`: when is it to run?')
    whens = when_of(resolved.schedule)
    if not (cron or no_start or systemd.RUNNING.is_dir()):
        session.say("systemd does not run here: cron is used")
        cron = True
    keeper = _keeper(scope, cron=cron)
    if cron and resolved.schedule.randomized_delay is not None:
        session.terminal.error("cron knows no random delay: `randomized-delay` is left out")
    written = keeper.install(Job(profile, configuration.file, whens, resolved.schedule), start=not no_start)
    for line in written:
        session.say(line)
    for when in whens:
        times = when.next_runs(datetime.now())
        session.say(f"next runs ({when.text}): {', '.join(times) or 'systemd-analyze is not there to tell'}")


@command.command("list")
@pass_session
def list_command(session: Session) -> None:
    """List the profiles that are scheduled, yours and the system's, with their next runs."""
    found = [one for keeper in _keepers(list(Scope)) for one in keeper.installed()]
    if session.json:
        session.print_json([asdict(one) for one in found])
        return
    rows = [
        [one.profile, one.by, "\n".join(one.at), "\n".join(one.next_runs) or "not known", one.configuration]
        for one in found
    ]
    columns = ["Profile", "By", "At", "Next runs", "Configuration"]
    session.print(format_table(columns, rows) if rows else "no profile is scheduled")


@command.command("remove")
@_scope_flags
@click.option("--cron", is_flag=True, help="only lines for cron")
@click.argument("profile", shell_complete=complete_profiles)
@pass_session
def remove_command(session: Session, profile: str, scope: str | None, *, cron: bool) -> None:
    """Take PROFILE out of systemd and cron again: exactly what `limpet schedule install` wrote."""
    keepers = [_keeper(scope, cron=True)] if cron else _keepers([_scope(scope)])
    removed = [line for keeper in keepers for line in keeper.remove(profile)]
    if not removed:
        raise UsageError(f"no schedule of {profile!r} is installed here; `limpet schedule list` shows those that are")
    for line in removed:
        session.say(line)


def _keeper(scope: str | None, *, cron: bool) -> JobKeeper:
    return CronKeeper(_scope(scope)) if cron else systemd.SystemdKeeper(_scope(scope))


def _keepers(scopes: Sequence[Scope]) -> Sequence[JobKeeper]:
    return [keeper(scope) for scope in scopes for keeper in (systemd.SystemdKeeper, CronKeeper)]


def _scope(given: str | None) -> Scope:
    return Scope(given) if given else Scope.of_process()

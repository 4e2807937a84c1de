"""`limpet profile list|show|check`: the profiles of the configuration, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from limpet.cli.configuration.checking import mistakes_in
from limpet.cli.configuration.execution import Execution, surroundings
from limpet.cli.configuration.loading import (
    Configuration,
    complete_profiles,
    config_option,
    load_configuration,
    profile_argument,
)
from limpet.cli.configuration.plan import plan_opening
from limpet.cli.configuration.showing import profile_document, profile_lines, profile_summary
from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.group import LimpetGroup
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table


@click.group("profile", cls=LimpetGroup)
def command() -> None:
    """List, show and check the profiles of the configuration."""


@command.command("list")
@config_option
@pass_session
def list_command(session: Session, config: str | None) -> None:
    """List the profiles: what they inherit, when they run, what they are for."""
    configuration = load_configuration(config)
    resolver = configuration.resolver()
    found = [profile_summary(name, resolver.profiles) for name in sorted(resolver.profiles)]
    if session.json:
        session.print_json({"file": str(configuration.file), "profiles": found})
        return
    session.say(f"profiles of {configuration.file}:")
    columns = ("name", "inherits", "schedule", "description")
    rows = [[_cell(summary[column]) for column in columns] for summary in found]
    session.print(format_table(["Profile", "Inherits", "Schedule", "Description"], rows) if rows else "none")


@command.command("show")
@config_option
@profile_argument
@pass_session
def show_command(session: Session, profile: str, config: str | None) -> None:
    """Show what PROFILE comes to with all that it inherits, and the commands it stands for. Never shows a secret."""
    resolved = load_configuration(config).profile(profile)
    if session.json:
        session.print_json(profile_document(resolved))
    else:
        session.print("\n".join(profile_lines(resolved)))


@command.command("check")
@config_option
@click.option("--open", "opens", is_flag=True, help="open the repositories, too")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete_profiles)
@pass_session
def check_command(session: Session, profiles: Sequence[str], config: str | None, *, opens: bool) -> None:
    """Look for mistakes in the profiles, or in all of them, and tell each with its file, line and key.

    Repositories are left alone, unless --open says otherwise. Exit code 1 where there is a mistake.
    """
    configuration = load_configuration(config)
    mistakes = mistakes_in(configuration, profiles)
    if session.json:
        session.print_json(
            {
                "message_type": "profile_check",
                "file": str(configuration.file),
                "mistakes": [{"line": one.place.line, "key": one.place.key, "message": one.reason} for one in mistakes],
            }
        )
    else:
        for mistake in mistakes:
            session.print(str(mistake))
    if mistakes:
        raise CommandExit(EXIT_FAILED, f"{len(mistakes)} {'mistake' if len(mistakes) == 1 else 'mistakes'}")
    if opens:
        _open_repositories(session, configuration, profiles)
    if not session.json:
        session.say(f"no mistakes found in {configuration.file}")


def _open_repositories(session: Session, configuration: Configuration, names: Sequence[str]) -> None:
    """CommandExit with the exit code of the first repository that cannot be opened."""
    resolver = configuration.resolver()
    for name in names or sorted(resolver.profiles):
        profile = resolver.profile(name)
        execution = Execution(profile, begin=lambda _planned: None, warn=session.terminal.error, shows_results=False)
        with surroundings(profile):
            opened = execution.run(plan_opening(profile))
        for ended in opened:
            if ended.exit_code:
                raise CommandExit(ended.exit_code, f"profile {name!r}: {ended.planned.repository} cannot be opened")


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value or "")

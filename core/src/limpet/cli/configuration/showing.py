"""A resolved profile for people and for programs, and the command lines it comes to; never a secret."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from limpet.cli.configuration.document import Setting, Table
from limpet.cli.configuration.expansion import HIDDEN, Text
from limpet.cli.configuration.inheritance import INHERITS, with_inherited
from limpet.cli.configuration.plan import PlannedCommand, plan, shown_value
from limpet.cli.configuration.profiles import Password, Profile, Repository
from limpet.cli.configuration.references import Reference


def profile_lines(profile: Profile) -> Iterator[str]:
    """The profile as text: what it is, then the command lines."""
    yield f"profile {profile.name}" + (f": {profile.description}" if profile.description else "")
    if len(profile.lineage) > 1:
        yield f"inherits:     {' <- '.join(profile.lineage[1:])}"
    yield f"runs in:      {profile.folder}"
    for repository in profile.repositories:
        yield f"repository:   {repository.name} at {repository.location.shown}, password: {password_words(repository)}"
    for text in profile.sources:
        yield f"source:       {text.shown}"
    for text in profile.excludes:
        yield f"excluded:     {text.shown}"
    for where, hooks in profile.hooks.items():
        if hooks:
            yield f"hooks:        {', '.join(hooks)} ({where})"
    for option in profile.options:
        yield f"option:       {option.shown}"
    if profile.schedule is not None:
        yield f"schedule:     {', '.join(expression for expression, _ in profile.schedule.at)}"
    if profile.repositories and profile.steps:
        yield ""
        yield f"cd {shlex.quote(str(profile.folder))}"
        for name, value in profile.environment.items():
            yield f"export {name}={shown_value(value)}"
        yield from (planned.shown for planned in plan(profile))


def profile_document(profile: Profile) -> dict[str, Any]:
    """The profile for programs."""
    planned = plan(profile) if profile.repositories and profile.steps else []
    return {
        "name": profile.name,
        "description": profile.description,
        "inherits": list(profile.lineage[1:]),
        "folder": str(profile.folder),
        "repositories": [
            {"name": one.name, "location": one.location.shown, "password": password_words(one)}
            for one in profile.repositories
        ],
        "sources": [text.shown for text in profile.sources],
        "excludes": [text.shown for text in profile.excludes],
        "tag": profile.tag,
        "hooks": {where: list(hooks) for where, hooks in profile.hooks.items()},
        "options": [option.shown for option in profile.options],
        "environment": {name: _value(value) for name, value in profile.environment.items()},
        "schedule": [expression for expression, _ in profile.schedule.at] if profile.schedule else [],
        # As they are written: variables are not filled in, and nothing secret is written out.
        "settings": {
            key: {"value": setting.value, "line": setting.place.line} for key, setting in profile.table.settings()
        },
        "commands": [_command(one) for one in planned],
    }


def profile_summary(name: str, profiles: Mapping[str, Table]) -> dict[str, Any]:
    """What a list says of a profile, as it is written: no variable is filled in."""
    table = with_inherited(name, profiles)
    schedule = table.entries.get("schedule")
    times = schedule.entries.get("at") if isinstance(schedule, Table) else None
    own = profiles[name].entries
    return {
        "name": name,
        "inherits": _written(own.get(INHERITS)),
        "schedule": [str(item.value) for item in times.items] if isinstance(times, Setting) else [],
        "description": _written(own.get("description")),
    }


def _written(entry: Setting | Table | None) -> str:
    return str(entry.value) if isinstance(entry, Setting) else ""


def password_words(repository: Repository) -> str:
    """Where the password comes from."""
    password: Password = repository.password
    if password.file is not None:
        return f"file {password.file.shown}"
    if password.command is not None:
        return f"command {password.command.shown}"
    if password.reference is not None:
        return password.reference.shown
    return "environment, or asked for"


def _command(planned: PlannedCommand) -> dict[str, Any]:
    return {"command": planned.command, "repository": planned.repository, "line": planned.shown}


def _value(value: Text | Reference) -> str:
    return value.shown if isinstance(value, Text) else f"{HIDDEN} ({value.shown})"

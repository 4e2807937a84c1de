"""Flags of the ordinary commands as keys of the configuration: the commands' own declarations say what they take."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import click

from limpet.cli.configuration.document import ConfigurationError, Place, Setting, Table
from limpet.cli.configuration.expansion import Text, expand
from limpet.cli.configuration.reading import Tell, refused_secret, unknown
from limpet.cli.group import prepare
from limpet.cli.option_table import DECLARATIONS
from limpet.cli.parameters import parse_size
from limpet.errors import UsageError

ELSEWHERE: Mapping[str, str] = {
    "repo": "name the repository in the profile's `repositories`",
    "repository-file": "name the repository in the profile's `repositories`",
    "password-file": "it belongs to the repository, or beside `repositories` in the profile",
    "password-command": "it belongs to the repository, or beside `repositories` in the profile",
    "option": "it belongs into the profile's table `options`",
    "hook": "it belongs into the profile's table `hooks`",
    "exclude": "it belongs into the profile's list `excludes`",
    "stdin": "nobody is there to type; `sources` may hold commands: `command:FILE=COMMAND LINE`",
    "stdin-from-command": "`sources` may hold commands: `command:FILE=COMMAND LINE`",
    "dry-run": "ask for it when you run the profile: `limpet run PROFILE --dry-run`",
    "help": "there is `limpet help`",
}
"""Flags that are no keys of these tables, and where that is said instead."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a command line; `value` is None for a switch."""

    name: str
    value: Text | None
    place: Place

    @property
    def words(self) -> Sequence[Text]:
        """As it is written: in one word, so that a value may begin with a dash."""
        if self.value is None:
            return (Text.plain(self.name),)
        return (Text(f"{self.name}={self.value.value}", f"{self.name}={self.value.shown}"),)


@cache
def command_called(name: str) -> click.Command:
    """The core's command, with the global options; only this one is imported."""
    command: click.Command = importlib.import_module(f"limpet.cli.commands.{name}").command
    prepare(command)
    return command


def flags_of(command_name: str) -> Mapping[str, click.Option]:
    """The long flags that a table about this command may have, by their name without dashes."""
    return {
        flag.removeprefix("--"): option
        for option in command_called(command_name).params
        if isinstance(option, click.Option) and not option.hidden
        for flag in option.opts
        if flag.startswith("--")
    }


@cache
def global_flags() -> Mapping[str, click.Option]:
    """The flags that every command has."""
    names = {flag.removeprefix("--") for declared in DECLARATIONS.values() for flag in declared.flags}
    return {name: option for name, option in flags_of("version").items() if name in names}


def read_flags(
    table: Table, known: Mapping[str, click.Option], tell: Tell, *, besides: Sequence[str] = ()
) -> list[Flag]:
    """The flags that a table gives, each value of the type that the command wants; keys in `besides` are left alone."""
    found: list[Flag] = []
    allowed = known.keys() - ELSEWHERE.keys()
    for key, entry in table.entries.items():
        if key in besides:
            continue
        if key not in allowed:
            reason = ELSEWHERE[key] if key in known.keys() & ELSEWHERE.keys() else None
            tell(entry.place.mistake(reason or unknown(key, [*allowed, *besides], "flag here")))
        elif isinstance(entry, Table):
            tell(entry.place.mistake("is a table, and should be a value"))
        else:
            found.extend(_flags(f"--{key}", known[key], entry, tell))
    return found


def _flags(name: str, option: click.Option, setting: Setting, tell: Tell) -> list[Flag]:
    if option.is_flag or option.count:
        return _switches(name, option, setting, tell)
    if isinstance(setting.value, list) and not option.multiple:
        tell(setting.place.mistake("takes one value, not a list"))
        return []
    flags = []
    for item in setting.items:
        text = _value(name, option, item, tell)
        if text is not None:
            flags.append(Flag(name, text, item.place))
    return flags


def _switches(name: str, option: click.Option, setting: Setting, tell: Tell) -> list[Flag]:
    value = setting.value
    if isinstance(value, bool):
        return [Flag(name, None, setting.place)] if value else []
    if option.count and isinstance(value, int) and value >= 0:
        return [Flag(name, None, setting.place)] * value
    tell(setting.place.mistake(f"{value!r} is neither true nor false"))
    return []


def _value(name: str, option: click.Option, setting: Setting, tell: Tell) -> Text | None:
    if isinstance(setting.value, bool | list):
        tell(setting.place.mistake(f"{str(setting.value).lower()} is no value for {name}"))
        return None
    try:
        text = expand(str(setting.value), setting.place)
        option.type.convert(text.value, option, None)
        more = _CHECKS.get(name)
        if more is not None:
            more(text.value)
    except click.BadParameter as error:
        tell(setting.place.mistake(error.message))
        return None
    except ConfigurationError as mistake:
        tell(mistake)
        return None
    except (UsageError, ValueError) as error:
        tell(setting.place.mistake(str(error)))
        return None
    if text.has_secret:
        tell(setting.place.mistake(refused_secret(text)))
        return None
    return text


def _check_subset(text: str) -> None:
    from limpet.cli.commands.check import parse_subset  # noqa: PLC0415  # with its command

    parse_subset(text)


def _check_unused_limit(text: str) -> None:
    from limpet.cli.prune_flags import parse_unused_limit  # noqa: PLC0415  # with its command

    parse_unused_limit(text)


_CHECKS: Mapping[str, Callable[[str], object]] = {
    "--read-data-subset": _check_subset,
    "--max-unused": _check_unused_limit,
    "--max-repack-size": parse_size,
    "--repack-smaller-than": parse_size,
}
"""What these commands look at only once they run."""

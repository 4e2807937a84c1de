"""What `limpet run` is given on its own command line, as it goes on to the commands of the profile."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.core import ParameterSource

from limpet import registry
from limpet.cli.configuration.document import Place
from limpet.cli.configuration.expansion import Text
from limpet.cli.configuration.plugin_options import PluginOption
from limpet.cli.option_table import DECLARATIONS
from limpet.cli.options import GlobalOptions
from limpet.contracts.options import Option
from limpet.errors import UsageError
from limpet.registry.option_values import parse_assignments

_OF_PROFILE = ("repo", "repository_file", "password_file", "password_command", "insecure_no_password", "key_hint")
_OWN = ("hook", "option")
"""Taken by the run itself: its hooks, and options that are merged with the profile's."""


def passed_on(ctx: click.Context, options: GlobalOptions) -> list[Text]:
    """The global flags that were given, for every command; UsageError for those that the profile decides."""
    words: list[Text] = []
    for name, declared in DECLARATIONS.items():
        if name in _OWN or not _is_given(ctx, name):
            continue
        flag = declared.flags[-1]
        if name in _OF_PROFILE:
            raise UsageError(f"{flag} and a profile contradict each other: the profile says which repositories it has")
        value = getattr(options, name)
        if declared.kind == "flag":
            words.append(Text.plain(f"{flag}={str(value).lower()}"))
        elif declared.kind == "count":
            words.append(Text.plain(f"{flag}={value}"))
        elif declared.kind == "duration":
            words.append(Text.plain(f"{flag}={value}s"))
        else:
            values: Sequence[object] = value if isinstance(value, list) else [value]
            words += [Text.plain(f"{flag}={one}") for one in values]
    return words


def given_options(options: GlobalOptions, place: Place) -> list[PluginOption]:
    """What -o says, as options of the profile that come last."""
    registry.parse_options(options.option)
    given = parse_assignments(options.option)
    return [
        PluginOption(name, Text(value, "***"), Option(name.partition(".")[2], ""), place)
        for name, value in given.items()
    ]


def _is_given(ctx: click.Context, name: str) -> bool:
    context: click.Context | None = ctx
    while context is not None:
        if context.get_parameter_source(f"global_{name}") is ParameterSource.COMMANDLINE:
            return True
        context = context.parent
    return False

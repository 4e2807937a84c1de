"""The command tree: commands imported when they are asked for, global options anywhere, restic's flag notation."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from limpet.cli.commands import COMMANDS, DEPRECATED
from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.options import GlobalOption, add_global_options
from limpet.errors import PluginError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_TRUE_WORDS = {"1", "t", "true", "TRUE", "True", "T"}
_FALSE_WORDS = {"0", "f", "false", "FALSE", "False", "F"}
SUGGESTION_DISTANCE = 2
HELP_FLAGS = {"-h", "--help"}
SHORT_FLAG = 2
"""Characters of a short flag."""


class LimpetGroup(click.Group):
    """A group that understands `--flag=value` for switches and names the nearest command of an unknown one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            raise CommandHelp(ctx)
        return super().parse_args(ctx, normalise_flags(self, behind_command(self, args), stop_at_positional=True))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None and ctx.resilient_parsing:
            return None, None, args
        if command is None:
            raise CommandExit(EXIT_FAILED, unknown_command(args[0], ctx.command_path, self.list_commands(ctx)))
        rest = args[1:]
        return args[0], command, rest if isinstance(command, click.Group) else normalise_flags(command, rest)


class CommandHelp(Exception):  # noqa: N818  # as SystemExit: no error
    """A group was called without a command: its help is wanted."""

    def __init__(self, ctx: click.Context) -> None:
        super().__init__()
        self.ctx = ctx


class RootGroup(LimpetGroup):
    """The core's commands by name from `limpet.cli.commands`, any other one from the plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *_plugin_commands()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if cmd_name in DEPRECATED:
            return self._deprecated_command(ctx, cmd_name)
        command = _core_command(cmd_name) if cmd_name in COMMANDS else _plugin_command(cmd_name)
        if command is not None:
            prepare(command)
            command.epilog = command.epilog or "Global options, before or after the command: see `limpet help`."
        return command

    def _deprecated_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command that is meant by a name it had long ago, with a warning."""
        group_name, inner_name = DEPRECATED[name]
        group = self.get_command(ctx, group_name)
        inner = group.commands.get(inner_name) if isinstance(group, click.Group) else None
        if inner is not None and ctx.obj is not None and not ctx.resilient_parsing:
            new_name = f"{group_name} {inner_name}"
            ctx.obj.terminal.error(f'Command "{name}" is deprecated, Use "{new_name}" instead')
        return inner

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from click.shell_completion import CompletionItem  # noqa: PLC0415  # only shells ask

        # Not the inherited way: it imports every command to ask for its help.
        texts = dict.fromkeys(_plugin_commands(), "") | COMMANDS
        return [CompletionItem(name, help=text) for name, text in sorted(texts.items()) if name.startswith(incomplete)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        options = [option for option in self.params if isinstance(option, GlobalOption)]
        with formatter.section("Global options"):
            formatter.write_dl([record for option in options if (record := option.help_record(ctx))])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        others = sorted(set(_plugin_commands()) - set(COMMANDS))
        if others:
            with formatter.section("Commands from plugins"):
                formatter.write_dl([(name, f"see `limpet help {name}`") for name in others])


def prepare(command: click.Command) -> None:
    """Give a loaded command, and all below it, the global options and both spellings of --help."""
    add_global_options(command)
    command.context_settings.setdefault("help_option_names", ["-h", "--help"])
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            prepare(inner)


def behind_command(group: click.Command, args: Sequence[str]) -> list[str]:
    """The arguments with those flags moved behind the command's name that are the command's, not the group's.

    As in restic the flags of a command may come before its name, each with its value: a flag that the group does not
    know takes the argument behind it unless it has an `=`.
    """
    options = _options(group)
    before: list[str] = []
    moved: list[str] = []
    rest = iter(args)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if argument == "--" or not argument.startswith("-") or argument == "-":
            return [*before, argument, *moved, *rest] if argument != "--" else [*before, *moved, argument, *rest]
        option = options.get(name)
        is_short_with_more = not argument.startswith("--") and len(name) > SHORT_FLAG
        known = option is not None or (is_short_with_more and argument[:SHORT_FLAG] in options)
        takes_next = not equals and not is_short_with_more and (option is None or not _is_switch(option))
        if name in HELP_FLAGS:
            known, takes_next = False, False
        (before if known else moved).extend([argument, *itertools.islice(rest, int(takes_next))])
    return [*before, *moved]


def normalise_flags(command: click.Command, args: Sequence[str], *, stop_at_positional: bool = False) -> list[str]:
    """The arguments in click's notation: `--verbose=2` as `-v -v`, `--json=false` left out, `-r=x` as `-r x`.

    With `stop_at_positional` everything from the first argument on that is no option is left alone.
    """
    options = _options(command)
    result: list[str] = []
    rest = iter(args)
    for cluster in rest:
        if cluster == "--" or (stop_at_positional and not cluster.startswith("-")):
            result.append(cluster)
            break
        *switches, argument = _short_flags(cluster, options)
        result.extend(switches)
        name, equals, value = argument.partition("=")
        option = options.get(name)
        if option is None or (not equals and _is_switch(option)):
            result.append(argument)
        elif not equals:
            result.extend([argument, *itertools.islice(rest, 1)])
        elif option.count and value.isdigit():
            result.extend([name] * int(value))
        elif option.is_flag and value in _TRUE_WORDS:
            result.append(name)
        elif option.is_flag and value in _FALSE_WORDS:
            continue
        elif not name.startswith("--") and not option.is_flag:
            result.extend([name, value])
        else:
            result.append(argument)
    result.extend(rest)
    return result


def _options(command: click.Command) -> dict[str, click.Option]:
    return {flag: option for option in command.params if isinstance(option, click.Option) for flag in option.opts}


def _is_switch(option: click.Option) -> bool:
    """Whether it takes no value."""
    return option.is_flag or option.count


def _short_flags(argument: str, options: Mapping[str, click.Option]) -> list[str]:
    """`-qvr=x` as `-q`, `-v`, `-r=x`: short flags in one argument, of which only the last may take a value."""
    pieces = []
    while len(argument) > SHORT_FLAG and not argument.startswith("--") and argument[SHORT_FLAG] != "=":
        option = options.get(argument[:SHORT_FLAG])
        if option is None or not _is_switch(option):
            break
        pieces.append(argument[:SHORT_FLAG])
        argument = f"-{argument[SHORT_FLAG:]}"
    return [*pieces, argument]


def unknown_command(name: str, path: str, known: Iterable[str]) -> str:
    """The lines that tell of an unknown command and name those that were probably meant."""
    near = [other for other in known if other.startswith(name) or edit_distance(name, other) <= SUGGESTION_DISTANCE]
    text = f'unknown command "{name}" for "{path}"'
    if near:
        text += "\n\nDid you mean this?\n" + "".join(f"\t{other}\n" for other in near)
    return text


def unknown_flag(error: click.NoSuchOption) -> str:
    """restic's line for a flag that does not exist, with the one that was probably meant."""
    name = error.option_name
    text = f"unknown flag: {name}" if name.startswith("--") else f"unknown shorthand flag: {name[1:]!r} in {name}"
    near = [flag for flag in error.possibilities or () if edit_distance(flag, name) <= SUGGESTION_DISTANCE]
    return f"{text} (did you mean {near[0]}?)" if near else text


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether --json is among the flags, as far as that can be told without knowing what takes a value."""
    flags = itertools.takewhile(lambda argument: argument != "--", arguments)
    return any(flag in {"--json", *(f"--json={word}" for word in _TRUE_WORDS)} for flag in flags)


def edit_distance(first: str, second: str) -> int:
    """How many letters have to be added, dropped or changed to get from one word to the other."""
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, 1):
        above, row[0] = row[0], i
        for j, right in enumerate(second, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (left != right))
    return row[-1]


def _core_command(name: str) -> click.Command:
    module = importlib.import_module(f"limpet.cli.commands.{name.replace('-', '_')}")
    command = module.command
    assert isinstance(command, click.Command)
    return command


def _plugin_commands() -> list[str]:
    from importlib.metadata import entry_points  # noqa: PLC0415  # costs 20 ms that `limpet version` must not pay

    return [point.name for point in entry_points(group="limpet.commands")]


def _plugin_command(name: str) -> click.Command | None:
    if name not in _plugin_commands():
        return None
    from limpet import registry  # noqa: PLC0415  # brings stevedore

    command = registry.command(name)
    if not isinstance(command, click.Command):
        raise PluginError(f"the plugin of the command {name!r} is no click command")
    return command

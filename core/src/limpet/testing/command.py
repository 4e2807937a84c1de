"""`CommandConformance`: what every command plugin must do, as a test class to derive from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import click
import pytest

from limpet.cli.commands import COMMANDS, DEPRECATED
from limpet.cli.main import main
from limpet.contracts.command import COMMAND_CONTRACT, Command
from limpet.registry.kinds import PluginKind
from limpet.registry.loading import load
from limpet.testing.declarations import check_declared_options, check_stated_contract


class CommandConformance:
    """Derive a test class, set `command_class` and `command_name`; the distribution has to be installed."""

    command_class: ClassVar[type[Command]]
    command_name: ClassVar[str]

    def test_states_its_contract(self) -> None:
        """A plugin that does not say what it was built for fails in a user's run instead of at its start."""
        check_stated_contract(self.command_class, COMMAND_CONTRACT)

    def test_options_are_well_declared(self) -> None:
        """A bad declaration breaks `-o`, the help and the docs at once."""
        check_declared_options(self.command_class.options)

    def test_is_found_by_its_name(self) -> None:
        """A command that another one hides, or that is registered by another name, is never called."""
        assert self.command_name not in {*COMMANDS, *DEPRECATED}, "Limpet itself has a command of this name"
        assert load(PluginKind.COMMAND, self.command_name) is self.command_class

    def test_goes_by_its_name(self, capfd: pytest.CaptureFixture[str]) -> None:
        """Its own help and its errors would tell people to type something else; what it prints here breaks JSON."""
        made = self.command_class.click_command()
        assert isinstance(made, click.Command)
        assert made.name == self.command_name
        assert capfd.readouterr().out == ""

    def test_says_what_it_and_its_flags_do(self) -> None:
        """Nobody else can: the guide does not know it."""
        for words, command in with_inner_commands((self.command_name,), self.command_class.click_command()):
            assert (command.help or "").strip(), f"`{' '.join(words)}` has no help"
            for parameter in command.params:
                described = not isinstance(parameter, click.Option) or parameter.hidden or parameter.help
                assert described, f"`{' '.join(words)}`: {'/'.join(parameter.opts)} has no help"

    def test_help_is_shown(self, capfd: pytest.CaptureFixture[str]) -> None:
        """Help is asked for where a repository is neither named nor there: a command must not look for one first."""
        for words, command in with_inner_commands((self.command_name,), self.command_class.click_command()):
            said = (command.help or "").split()[0]
            for arguments in ([*words, "--help"], [*words, "-h"], ["help", *words]):
                assert main(arguments) == 0
                shown = capfd.readouterr()
                assert f"limpet {' '.join(words)}" in shown.out
                assert said in shown.out
                assert shown.err == ""


def with_inner_commands(
    words: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The command and, where it is a group, all below it, each with the words that it is called by."""
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from with_inner_commands((*words, name), inner)

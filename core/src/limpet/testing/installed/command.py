"""The conformance suite of commands with one that a user names."""

from __future__ import annotations

from typing import cast

import pytest

from limpet.contracts.command import Command
from limpet.registry.kinds import PluginKind
from limpet.registry.loading import load
from limpet.testing.command import CommandConformance
from limpet.testing.installed import wanted


class TestInstalledCommand(CommandConformance):
    """Whatever command is named."""

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        """The class, found by its name as the command line finds it."""
        type(self).command_name = wanted()["name"]
        type(self).command_class = cast("type[Command]", load(PluginKind.COMMAND, wanted()["name"]))

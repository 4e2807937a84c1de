"""The conformance suite of hooks with the options that a user gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from limpet.contracts.hooks import Hook
from limpet.contracts.options import OptionValue
from limpet.registry.kinds import PluginKind
from limpet.registry.loading import load
from limpet.testing.hook import HookConformance
from limpet.testing.installed import wanted, wanted_options


class TestInstalledHook(HookConformance):
    """Whatever hook is named."""

    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        """The class, found by its name as a run finds it."""
        type(self).hook_class = cast("type[Hook]", load(PluginKind.HOOK, wanted()["name"]))

    @pytest.fixture
    def settings(self) -> Mapping[str, OptionValue]:
        return wanted_options(PluginKind.HOOK)

"""The conformance suites with a plugin that is installed, as a user asks for it: `limpet plugin check` runs them.

One module for each kind. LIMPET_CHECK in the environment says as JSON what to check, see `limpet.cli.plugin_check`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from limpet.contracts.options import OptionValue
from limpet.registry.kinds import PluginKind
from limpet.registry.listing import declared_options
from limpet.registry.loading import load
from limpet.registry.opening import plugin_options


def wanted() -> dict[str, Any]:
    """What LIMPET_CHECK says: `name`, `options` by their full names, and what the kind needs beside."""
    found: dict[str, Any] = json.loads(os.environ["LIMPET_CHECK"])
    return found


def wanted_options(kind: PluginKind) -> Mapping[str, OptionValue]:
    """The values of the plugin's own options."""
    given = wanted()
    declared = declared_options(kind, load(kind, given["name"]))
    return plugin_options(kind, given["name"], declared, given["options"])

"""Options as data: one declaration feeds `-o name=value`, the environment, `--help` and the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

OptionValue = str | int | bool | float | None
OptionType = Literal["string", "integer", "boolean", "number", "duration", "size"]
Options = Mapping[str, OptionValue]
"""Values by option name without the plugin's prefix, already of the declared type."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of a plugin, given as `-o PLUGIN.NAME=VALUE` or by an environment variable.

    `duration` values are seconds, `size` values bytes. The value of a `secret` option is never shown.
    """

    name: str
    help: str
    type: OptionType = "string"
    default: OptionValue = None
    environment: str | None = None
    secret: bool = False

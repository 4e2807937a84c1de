"""The kinds of plugins: the entry-point group, the base class and the contract version of each."""

from __future__ import annotations

from enum import Enum


class PluginKind(Enum):
    """What a plugin is; the value is the word people use."""

    BACKEND = "backend"
    SOURCE = "source"
    COMMAND = "command"
    HOOK = "hook"

    @property
    def group(self) -> str:
        """The entry-point group: `limpet.backends` and so on."""
        return f"limpet.{self.value}s"

    def distribution(self, name: str) -> str:
        """The distribution that holds our plugin of this name; strangers are asked to follow."""
        return f"limpet-{self.value}-{name}"


def base_class(kind: PluginKind) -> type:
    """The class in `limpet.contracts` that every plugin of the kind is derived from."""
    # Imported one by one: a run that only needs a backend does not pay for pluggy.
    if kind is PluginKind.BACKEND:
        from limpet.contracts.backend import Backend  # noqa: PLC0415

        return Backend
    if kind is PluginKind.SOURCE:
        from limpet.contracts.source import Source  # noqa: PLC0415

        return Source
    if kind is PluginKind.COMMAND:
        from limpet.contracts.command import Command  # noqa: PLC0415

        return Command
    from limpet.contracts.hooks import Hook  # noqa: PLC0415

    return Hook


def contract_version(kind: PluginKind) -> int:
    """The version of the kind's contract that this core speaks."""
    version: int = base_class(kind).contract_version  # type: ignore[attr-defined]
    return version

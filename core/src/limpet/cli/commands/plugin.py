"""`limpet plugin list|info`: what is installed, what it can be told, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.group import LimpetGroup
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table
from limpet.contracts.options import Option, OptionValue
from limpet.registry.kinds import contract_version
from limpet.registry.listing import PluginInfo, plugins, plugins_called
from limpet.registry.option_values import format_default

_STATUS_OK = "ok"


@click.group("plugin", cls=LimpetGroup)
def command() -> None:
    """List and describe the installed plugins."""


@command.command("list")
@pass_session
def list_command(session: Session) -> None:
    """List the installed plugins with their distributions, broken ones too."""
    found = plugins()
    if session.json:
        session.print_json([_document(info) for info in found])
        return
    rows = [
        [info.kind.value, info.name, f"{info.distribution} {info.version}", info.error or _STATUS_OK] for info in found
    ]
    session.print(format_table(["Kind", "Name", "Distribution", "Status"], rows) if rows else "no plugins installed")


@command.command("info")
@click.argument("name")
@pass_session
def info_command(session: Session, name: str) -> None:
    """Describe the plugins called NAME: contract, distribution, options."""
    found = plugins_called(name)
    if session.json:
        session.print_json([_document(info) for info in found])
    else:
        session.print("\n\n".join("\n".join(_lines(info)) for info in found))
    if any(info.error is not None for info in found):
        raise CommandExit(EXIT_FAILED)


def _document(info: PluginInfo) -> dict[str, Any]:
    return {
        "kind": info.kind.value,
        "name": info.name,
        "distribution": info.distribution,
        "version": info.version,
        "target": info.target,
        "summary": info.summary,
        "contract_version": info.contract_version,
        "error": info.error,
        "options": [_option_document(option) for option in info.options],
    }


def _option_document(option: Option) -> dict[str, OptionValue]:
    return {
        "name": option.name,
        "type": option.type,
        "default": option.default,
        "environment": option.environment,
        "secret": option.secret,
        "help": option.help,
    }


def _lines(info: PluginInfo) -> Iterator[str]:
    yield f"{info.kind.value} {info.name}" + (f": {info.summary}" if info.summary else "")
    yield f"distribution: {info.distribution} {info.version}"
    yield f"entry point:  {info.target}"
    if info.error is not None:
        yield f"status:       {info.error}"
        return
    yield f"contract:     {info.contract_version} (this Limpet speaks {contract_version(info.kind)})"
    yield f"status:       {_STATUS_OK}"
    if not info.options:
        yield "options:      none"
        return
    yield ""
    yield format_table(
        ["Option", "Type", "Default", "Environment", "Meaning"],
        [
            [
                f"-o {info.name}.{option.name}=",
                option.type,
                format_default(option),
                option.environment or "",
                option.help,
            ]
            for option in info.options
        ],
    )

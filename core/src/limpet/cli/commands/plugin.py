"""`limpet plugin list|info|new|check`: what is installed, what it can be told, and what is wrong with it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from limpet.cli.exits import EXIT_FAILED, CommandExit
from limpet.cli.group import LimpetGroup
from limpet.cli.plugin_check import run_conformance
from limpet.cli.plugin_new import write_plugin
from limpet.cli.plugin_subject import CheckRequest, subject_of
from limpet.cli.session import Session, pass_session
from limpet.cli.table import format_table
from limpet.contracts.options import Option, OptionValue
from limpet.registry.kinds import PluginKind, contract_version
from limpet.registry.listing import PluginInfo, plugins, plugins_called
from limpet.registry.option_values import format_default

KIND = click.Choice([kind.value for kind in PluginKind])
_STATUS_OK = "ok"


@click.group("plugin", cls=LimpetGroup)
def command() -> None:
    """List, describe and check the installed plugins, or begin a new one."""


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


@command.command("new")
@click.option("--target", type=click.Path(path_type=Path), metavar="directory", help="where to write it to")
@click.argument("kind", type=KIND)
@click.argument("name")
@pass_session
def new_command(session: Session, kind: str, name: str, target: Path | None) -> None:
    """Write a new plugin, NAME: a distribution that installs, works and has tests, for you to change.

    KIND is backend, source, hook or command.
    """
    folder = write_plugin(PluginKind(kind), name, target)
    if session.json:
        session.print_json({"message_type": "plugin_new", "folder": str(folder)})
    else:
        session.print(f"written to {folder}; next: cd {shlex.quote(str(folder))} && pip install -e '.[test]' && pytest")


@command.command("check")
@click.option("--location", metavar="location", help="for a backend: an empty place that it may write to")
@click.option(
    "--argument",
    "arguments",
    multiple=True,
    metavar="text",
    help="for a source: what to read (can be given several times)",
)
@click.option("--kind", type=KIND, help="which one, where plugins of several kinds are called so")
@click.option("--only", metavar="expression", help="run the tests that fit this expression of pytest's -k")
@click.argument("name")
@pass_session
def check_command(
    session: Session, *, name: str, location: str | None, arguments: tuple[str, ...], kind: str | None, only: str | None
) -> None:
    """Run the conformance suite of its kind with the installed plugin NAME.

    A backend saves, reads and removes several thousand files at the location, which has to be empty and is left so. A
    source reads what --argument names (what follows NAME: in a backup) a dozen times. A hook is told of made-up runs,
    good ones and bad ones. A command shows its help. Options are given with -o, as always; pytest has to be installed.
    """
    request = CheckRequest(
        name,
        None if kind is None else PluginKind(kind),
        location,
        arguments,
        session.options.extended(),
        session.options.transport(),
    )
    subject = subject_of(request)
    result = run_conformance(subject, only=only, tell=session.terminal.error if session.json else session.print)
    if session.json:
        session.print_json(
            {"message_type": "plugin_check", "plugin": name, "kind": subject.kind.value, **asdict(result)}
        )
    else:
        session.print(f"passed: {result.passed}, skipped: {len(result.skipped)}, failed: {len(result.failed)}")
    if result.failed:
        raise CommandExit(
            EXIT_FAILED, f"the {subject.kind.value} {name!r} does not keep the contract, see the tests that failed"
        )


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

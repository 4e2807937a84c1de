"""The options that say which snapshots, as every command of restic has them, and by which names views show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from limpet.cli.environment import environment
from limpet.cli.parameters import TAG_LIST

if TYPE_CHECKING:
    from limpet.cli.terminal import Terminal
    from limpet.errors import LimpetError
    from limpet.operations.browse import Layout
    from limpet.repository.snapshots import SnapshotFilter

Command = TypeVar("Command", bound=Callable[..., object])


def snapshot_filter_options(*, single: bool = False, host_shorthand: bool = True) -> Callable[[Command], Command]:
    """A decorator that adds --host/-H, --tag and --path as `host`, `tag` and `path`.

    With `single` the help says that they only count for `latest`.
    """
    when = ', when snapshot ID "latest" is given' if single else ""

    def decorate(command: Command) -> Command:
        flags = ["-H", "--host"] if host_shorthand else ["--host"]
        click.option(
            "--path",
            multiple=True,
            metavar="path",
            help=f"only consider snapshots including this (absolute) path{when}"
            " (can be specified multiple times, snapshots must include all specified paths)",
        )(command)
        click.option(
            "--tag",
            multiple=True,
            type=TAG_LIST,
            help=f"only consider snapshots including tag[,tag,...]{when} (can be specified multiple times)",
        )(command)
        click.option(
            *flags,
            multiple=True,
            metavar="host",
            help=f"only consider snapshots for this host{when} (can be specified multiple times, "
            "use empty string to unset default value) (default: $LIMPET_HOST or $RESTIC_HOST)",
        )(command)
        return command

    return decorate


def snapshot_filter(host: Sequence[str], tag: Sequence[Sequence[str]], path: Sequence[str]) -> SnapshotFilter:
    """The filter that the three options ask for; the host's default comes from the environment."""
    from limpet.repository.snapshots import SnapshotFilter  # noqa: PLC0415  # only where snapshots are read

    hosts = list(host)
    if not hosts and (default := environment("HOST")):
        hosts = [default]
    return SnapshotFilter([] if hosts == [""] else hosts, tag, path)


def view_layout_options(command: Command) -> Command:
    """Add --path-template and --time-template as `path_template` and `time_template`."""
    from limpet.operations.browse import TIME_TEMPLATE  # noqa: PLC0415  # only where there are views

    click.option("--time-template", default=TIME_TEMPLATE, metavar="template", help="set template to use for times")(
        command
    )
    click.option(
        "--path-template",
        multiple=True,
        metavar="template",
        help="set template for path names (can be specified multiple times)",
    )(command)
    return command


def view_layout(path_template: Sequence[str], time_template: str) -> Layout:
    """The folders that the two options ask for; UsageError for templates that name none."""
    from limpet.operations.browse import PATH_TEMPLATES, Layout  # noqa: PLC0415  # as above

    return Layout(path_template or PATH_TEMPLATES, time_template)


def pass_over_snapshot(terminal: Terminal) -> Callable[[str, LimpetError], None]:
    """Tells of a snapshot that cannot be found or read, as restic does, and goes on with the others."""
    return lambda name, error: terminal.error(f'Ignoring "{name}": {error}')

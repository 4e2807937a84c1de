"""`limpet options`: what `-o` can say, from the declarations of all installed plugins."""

from __future__ import annotations

from collections.abc import Iterator

import click

from limpet.cli.session import Session, pass_session
from limpet.contracts.options import Option
from limpet.registry.listing import plugins
from limpet.registry.location import PATH
from limpet.registry.option_values import format_default


@click.command("options")
@pass_session
def command(session: Session) -> None:
    """Print list of extended options.

    They are given as `-o NAME=VALUE`; many can also be set by an environment variable. `limpet plugin info NAME` tells
    more about the options of one plugin.
    """
    found = plugins()
    texts = {
        f"{info.name}.{option.name}": option_text(option)
        for info in found
        if info.name != PATH  # a role, not a name: its plugin is listed by its own name, too
        for option in info.options
    }
    width = max(map(len, texts), default=0)
    session.print("All Extended Options:")
    for name in sorted(texts):
        session.print(f"  {name:<{width}}  {texts[name]}")
    for info in found:
        if info.error is not None:
            session.terminal.error(f"{info.kind.value} plugin {info.name!r} is left out: {info.error}")


def option_text(option: Option) -> str:
    """What the option is for, its default and its variable in parentheses."""
    notes = ", ".join(_notes(option))
    return f"{option.help} ({notes})" if notes else option.help


def _notes(option: Option) -> Iterator[str]:
    default = format_default(option)
    if default:
        yield f"default: {default}"
    if option.environment is not None:
        yield f"${option.environment}"

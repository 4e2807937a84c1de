"""The configuration that a command is about: found, read, its profiles at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from limpet.cli.configuration.document import Table, read_document
from limpet.cli.configuration.files import find_configuration
from limpet.cli.configuration.profiles import Profile
from limpet.cli.configuration.reading import Tell, stop_at, unknown
from limpet.cli.configuration.resolving import Resolver
from limpet.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Configuration:
    """One configuration file as it was read."""

    file: Path
    document: Table

    def resolver(self, tell: Tell = stop_at) -> Resolver:
        """What resolves its profiles; mistakes go to `tell`."""
        return Resolver(self.document, self.file.parent, tell)

    def profile(self, name: str) -> Profile:
        """The profile of this name; UsageError where there is none, ConfigurationError for the first mistake in it."""
        resolver = self.resolver()
        self.require(name, resolver)
        return resolver.profile(name)

    def require(self, name: str, resolver: Resolver) -> None:
        """UsageError naming the nearest profile where there is none of this name."""
        if name not in resolver.profiles:
            raise UsageError(f"{self.file}: {unknown(name, resolver.profiles, 'profile')}")


def load_configuration(given: str | None) -> Configuration:
    """The configuration by --config, LIMPET_CONFIG or in its usual places; errors as the parts say."""
    file = find_configuration(given)
    return Configuration(file, read_document(file))


def config_option(command: Command) -> Command:
    """A decorator that adds --config as `config`."""
    option = click.option(
        "--config",
        metavar="file",
        help="the configuration file (default: $LIMPET_CONFIG, ~/.config/limpet/limpet.toml, /etc/limpet/limpet.toml)",
    )
    decorated: Command = option(command)
    return decorated


def profile_argument(command: Command) -> Command:
    """A decorator that adds the name of a profile as `profile`, completed from the configuration."""
    decorated: Command = click.argument("profile", shell_complete=complete_profiles)(command)
    return decorated


def complete_profiles(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The profiles that a shell may complete to; none where there is no configuration, or a mistake in it."""
    try:
        resolver = load_configuration(ctx.params.get("config")).resolver()
    except UsageError:
        return []
    return [name for name in sorted(resolver.profiles) if name.startswith(incomplete)]

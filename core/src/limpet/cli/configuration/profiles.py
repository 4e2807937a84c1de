"""Profiles resolved: what is backed up, into which repositories, with which flags, hooks, options and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limpet.cli.configuration.document import Place, Setting, Table
from limpet.cli.configuration.expansion import Text
from limpet.cli.configuration.flags import Flag
from limpet.cli.configuration.plugin_options import PluginOption
from limpet.cli.configuration.references import Reference

RUN, EVERY = "run", "every"
"""Where a hook takes part: once around the whole run, or in each of its commands."""


@dataclass(frozen=True, slots=True)
class Password:
    """How the commands get the password of a repository: by one of these, or as any command if by none."""

    file: Text | None = None
    command: Text | None = None
    reference: Reference | None = None
    place: Place | None = None

    @property
    def hook(self) -> str | None:
        """The hook that gives it."""
        reference = self.reference
        return reference.target.value if reference is not None and reference.kind.value == "hook" else None

    def __bool__(self) -> bool:
        return bool(self.file or self.command or self.reference)


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository of a profile; `name` is that of its table, or its location without secrets."""

    name: str
    location: Text
    password: Password
    place: Place
    flags: Sequence[Flag] = ()
    options: Sequence[PluginOption] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One command that the profile has run in every repository: `backup`, `forget`, `prune` or `check`."""

    command: str
    flags: Sequence[Flag]
    place: Place


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the profile runs, as its table says; `scheduling` turns it into units and lines."""

    at: Sequence[tuple[str, Place]]
    place: Place
    randomized_delay: str | None = None
    persistent: bool = True
    nice: int = 10
    io_class: str = "idle"
    sandbox: bool = True
    environment_file: Text | None = None
    service: Mapping[str, Setting] = field(default_factory=dict)
    """Lines of the service as the user wants them, by systemd's own names."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile with all that it inherits, every variable filled in, no secret read."""

    name: str
    folder: Path
    """Where its commands run: relative paths are taken from the configuration's folder."""
    place: Place
    table: Table
    """As it is written, with what is inherited."""
    lineage: Sequence[str] = ()
    description: str = ""
    repositories: Sequence[Repository] = ()
    sources: Sequence[Text] = ()
    excludes: Sequence[Text] = ()
    tag: str = ""
    hooks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    options: Sequence[PluginOption] = ()
    environment: Mapping[str, Text | Reference] = field(default_factory=dict)
    flags: Sequence[Flag] = ()
    """Flags of every command."""
    steps: Sequence[Step] = ()
    schedule: Schedule | None = None

    def step(self, command: str) -> Step | None:
        """The step of this command, if the profile has it."""
        return next((step for step in self.steps if step.command == command), None)

    def hooks_of(self, command: str, repository: Repository) -> Sequence[str]:
        """The hooks that take part in one command."""
        own = (repository.password.hook,) if repository.password.hook else ()
        return tuple(dict.fromkeys([*own, *self.hooks.get(EVERY, ()), *self.hooks.get(command, ())]))

"""Everything about a profile that can be known without opening a repository."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, suppress

from limpet import registry
from limpet.cli.configuration.document import ConfigurationError, Place, Table
from limpet.cli.configuration.flags import Flag, flags_of, global_flags
from limpet.cli.configuration.loading import Configuration
from limpet.cli.configuration.plan import plan
from limpet.cli.configuration.plugin_options import plugin_aliases
from limpet.cli.configuration.profiles import Password, Profile
from limpet.cli.configuration.reading import unknown
from limpet.cli.configuration.references import (
    Reference,
    ReferenceKind,
    command_words,
    require_file,
    require_variable,
)
from limpet.cli.configuration.resolving import Resolver, key_of
from limpet.cli.scheduling.times import check_schedule
from limpet.errors import LimpetError
from limpet.patterns import Patterns
from limpet.registry.kinds import PluginKind
from limpet.registry.loading import names
from limpet.registry.location import PATH

_NAMES_FILE = "file"
"""What a flag calls its value in the help where it is the name of a file."""


def mistakes_in(configuration: Configuration, profiles: Sequence[str]) -> list[ConfigurationError]:
    """All mistakes that are found, in the order of the file; of all profiles and repositories where none is named."""
    found: list[ConfigurationError] = []
    resolver = configuration.resolver(found.append)
    for name in profiles:
        configuration.require(name, resolver)
    for name in profiles or sorted(resolver.profiles):
        is_wanted = bool(profiles) or not _is_inherited(name, resolver)
        before = len(found)
        try:
            profile = resolver.profile(name)
            # Where something was left out as it was wrong, that it is missing is no mistake of its own.
            _Checker(profile, found.append).check(is_whole=is_wanted and len(found) == before)
        except ConfigurationError as mistake:  # profiles in a ring: there is nothing to resolve
            found.append(mistake)
    if not profiles:
        resolver.check_repositories()
    told = {str(mistake): mistake for mistake in found}  # what is inherited is met more than once
    return sorted(told.values(), key=lambda mistake: mistake.place.line)


def _is_inherited(name: str, resolver: Resolver) -> bool:
    """Whether another profile is made from it."""
    parents = (table.entries.get("inherits") for table in resolver.profiles.values())
    return any(getattr(parent, "value", None) == name for parent in parents)


class _Checker:
    def __init__(self, profile: Profile, tell: Callable[[ConfigurationError], None]) -> None:
        self._profile = profile
        self._tell = tell

    def check(self, *, is_whole: bool) -> None:
        """Tell of what is wrong, and with `is_whole` of what is missing: not where it is only there to be inherited."""
        profile = self._profile
        if is_whole:
            self._try(plan, profile)
        for repository in profile.repositories:
            self._check_password(repository.password)
            self._check_files(repository.flags)
        for step in profile.steps:
            self._check_files(step.flags)
        self._check_files(profile.flags)
        for reference in self._references():
            self._check_reference(reference)
        self._check_sources()
        self._check_excludes()
        self._check_hooks()
        if profile.schedule is not None:
            self._try(check_schedule, profile.schedule)

    def _try(self, look: Callable[..., object], *arguments: object) -> None:
        try:
            look(*arguments)
        except ConfigurationError as mistake:
            self._tell(mistake)

    def _check_password(self, password: Password) -> None:
        if password.place is None:
            return
        if password.file is not None:
            self._try(require_file, password.file.value, self._profile.folder, password.place)
        if password.command is not None:
            self._check_program(password, password.place)
        if password.reference is not None:
            self._check_reference(password.reference)

    def _check_program(self, password: Password, place: Place) -> None:
        assert password.command is not None
        try:
            program = command_words(password.command, place)[0]
        except ConfigurationError as mistake:
            self._tell(mistake)
            return
        self._require_program(program, place)

    def _require_program(self, program: str, place: Place) -> None:
        path = os.path.join(self._profile.folder, program) if "/" in program else program
        if shutil.which(path) is None:
            self._tell(place.mistake(f"there is no program {program}"))

    def _references(self) -> Iterator[Reference]:
        profile = self._profile
        values: list[object] = list(profile.environment.values())
        values += [option.value for option in profile.options]
        values += [option.value for repository in profile.repositories for option in repository.options]
        yield from (value for value in values if isinstance(value, Reference))

    def _check_reference(self, reference: Reference) -> None:
        match reference.kind:
            case ReferenceKind.VARIABLE:
                self._try(require_variable, reference)
            case ReferenceKind.FILE:
                self._try(require_file, reference.target.value, self._profile.folder, reference.place)
            case ReferenceKind.COMMAND:
                with suppress(ConfigurationError):
                    self._require_program(command_words(reference.target, reference.place)[0], reference.place)
            case ReferenceKind.HOOK:
                installed = names(PluginKind.HOOK)
                if reference.target.value not in installed:
                    self._tell(reference.place.mistake(unknown(reference.target.value, installed, "installed hook")))

    def _check_files(self, flags: Sequence[Flag]) -> None:
        for flag in flags:
            name = flag.name.removeprefix("--")
            known = [global_flags(), *(flags_of(step.command) for step in self._profile.steps)]
            option = next((flags[name] for flags in known if name in flags), None)
            if option is not None and option.metavar == _NAMES_FILE and flag.value is not None:
                self._try(require_file, flag.value.value, self._profile.folder, flag.place)

    def _check_sources(self) -> None:
        setting = self._profile.table.entries.get("sources")
        items = getattr(setting, "items", ())
        for text, item in zip(self._profile.sources, items, strict=False):
            argument = registry.source_argument(text.value)
            if argument.scheme != PATH:
                try:
                    registry.source(argument.scheme)
                except LimpetError as error:
                    self._tell(item.place.mistake(str(error)))
            elif "://" in argument.rest:
                scheme = argument.rest.partition(":")[0]
                reason = unknown(scheme, names(PluginKind.SOURCE), "installed source")
                self._tell(item.place.mistake(f"{reason} (`pip install limpet-source-{scheme}`, if there is one)"))
            elif not os.path.lexists(os.path.join(self._profile.folder, argument.rest)):
                self._tell(item.place.mistake(f"{text.shown} does not exist"))

    def _check_excludes(self) -> None:
        setting = self._profile.table.entries.get("excludes")
        for text, item in zip(self._profile.excludes, getattr(setting, "items", ()), strict=False):
            try:
                Patterns([text.value], option="excludes")
            except LimpetError as error:
                self._tell(item.place.mistake(str(error)))

    def _check_hooks(self) -> None:
        """Build each, which does nothing yet, where that needs no secret that a command would have to give."""
        table = self._profile.table.entries.get("hooks")
        if not isinstance(table, Table):
            return
        for where, hooks in self._profile.hooks.items():
            for hook in hooks:
                self._check_hook(hook, table.entries[key_of(where)].place)

    def _check_hook(self, hook: str, place: Place) -> None:
        own = [option for option in self._profile.options if option.plugin in plugin_aliases(PluginKind.HOOK, hook)]
        references = [option.value for option in own if isinstance(option.value, Reference)]
        if any(reference.kind is ReferenceKind.COMMAND for reference in references):
            return
        folder = self._profile.folder
        try:
            with chdir(folder):  # files that their options name are meant to be found from there
                registry.hooks({option.name: option.read(folder) for option in own}, [hook])
        except ConfigurationError:  # a secret that is not there: told already
            return
        except LimpetError as error:
            self._tell(place.mistake(str(error)))

"""The command lines of a profile: what `limpet run` has run, and what `limpet profile show` shows."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from limpet.cli.configuration.document import Place
from limpet.cli.configuration.expansion import HIDDEN, Text
from limpet.cli.configuration.flags import Flag
from limpet.cli.configuration.plugin_options import PluginOption, kinds_called, merged_options, plugin_aliases
from limpet.cli.configuration.profiles import Profile, Repository, Step
from limpet.cli.configuration.references import Reference
from limpet.cli.environment import environment
from limpet.registry.kinds import PluginKind

WITH_DRY_RUN = frozenset({"backup", "forget", "prune"})
_FILTERS = frozenset({"--host", "--tag", "--path"})
_FILE_LISTS = frozenset({"--files-from", "--files-from-verbatim", "--files-from-raw"})
_PASSWORD = "LIMPET_PASSWORD"
_REPOSITORY = "LIMPET_REPOSITORY"


@dataclass(frozen=True, slots=True)
class PlannedCommand:
    """One ordinary command in one repository. Secrets are in `environment` and `secret_options`, never in `words`."""

    command: str
    repository: str
    words: Sequence[Text]
    place: Place
    environment: Mapping[str, Text | Reference] = field(default_factory=dict)
    secret_options: Sequence[PluginOption] = ()
    drops_password: bool = False
    """Whether the profile says where the password is, and the environment of the caller must not."""

    @property
    def shown(self) -> str:
        """The command line as a user would type it; what comes by the environment stands in front, hidden."""
        before = [f"{name}={shown_value(value)}" for name, value in self.environment.items()]
        after = [f"-o {shlex.quote(option.shown)}" for option in self.secret_options]
        return " ".join(["limpet" if not before else " ".join([*before, "limpet"]), *map(_quoted, self.words), *after])


def plan(
    profile: Profile,
    *,
    extra_flags: Sequence[Text] = (),
    extra_options: Sequence[PluginOption] = (),
    dry_run: bool = False,
) -> list[PlannedCommand]:
    """All commands in order: every repository has its backup before anything is removed from any.

    ConfigurationError for a profile without repositories or steps. A dry run leaves out what only looks.
    """
    if not profile.repositories:
        raise profile.place.mistake("has no `repositories`, so there is nothing to run (others may inherit from it)")
    if not profile.steps:
        raise profile.place.mistake("has neither `sources` nor `retention`, `prune` or `check`: nothing to run")
    planner = _Planner(profile, extra_flags, extra_options, dry_run=dry_run)
    steps = [step for step in profile.steps if not dry_run or step.command in WITH_DRY_RUN]
    return [planner.command(step, repository) for step in steps for repository in profile.repositories]


def plan_opening(profile: Profile) -> list[PlannedCommand]:
    """Commands that do nothing but open each repository."""
    planner = _Planner(profile, (), (), dry_run=False)
    step = Step("cat", (), profile.place)
    opened = [planner.command(step, repository) for repository in profile.repositories]
    return [replace(one, words=[*one.words, Text.plain("--no-lock"), Text.plain("config")]) for one in opened]


class _Planner:
    def __init__(
        self, profile: Profile, extra_flags: Sequence[Text], extra_options: Sequence[PluginOption], *, dry_run: bool
    ) -> None:
        self._profile = profile
        self._extra_flags = extra_flags
        self._extra_options = extra_options
        self._dry_run = dry_run
        backup = profile.step("backup")
        if backup is not None and not profile.sources and not any(flag.name in _FILE_LISTS for flag in backup.flags):
            raise backup.place.mistake("there are no `sources` to back up")

    def command(self, step: Step, repository: Repository) -> PlannedCommand:
        options = self.options_of(step.command, repository)
        location_is_secret = repository.location.value != repository.location.shown
        words = [Text.plain(step.command)]
        if not location_is_secret:
            words += [Text.plain("-r"), repository.location]
        words += self._password_words(repository)
        words += _words(_last_ones(self._profile.flags, repository.flags, step.flags))
        words += self._own_words(step)
        for hook in self._profile.hooks_of(step.command, repository):
            words.append(Text.plain(f"--hook={hook}"))
        for option in options:
            if isinstance(option.value, Text) and not option.is_secret:
                words += [Text.plain("-o"), Text(f"{option.name}={option.value.value}", option.shown)]
        words += self._extra_flags
        if step.command == "backup" and self._profile.sources:
            words += [Text.plain("--"), *self._profile.sources]
        return PlannedCommand(
            command=step.command,
            repository=repository.name,
            words=words,
            place=step.place,
            environment=self._environment(repository, location_is_secret=location_is_secret),
            secret_options=[option for option in options if option.is_secret],
            drops_password=bool(repository.password),
        )

    def options_of(self, command: str, repository: Repository) -> Sequence[PluginOption]:
        """The options that this command gets: those of a hook or source turn it on, or are of no use elsewhere."""
        hooks = self._profile.hooks_of(command, repository)
        taking_part = {alias for hook in hooks for alias in plugin_aliases(PluginKind.HOOK, hook)}
        merged = merged_options(self._profile.options, repository.options, self._extra_options)
        return [option for option in merged if _concerns(option.plugin, command, taking_part)]

    def _password_words(self, repository: Repository) -> list[Text]:
        password = repository.password
        if password.file is not None:
            return _words([Flag("--password-file", password.file, repository.place)])
        if password.command is not None:
            return _words([Flag("--password-command", password.command, repository.place)])
        return []

    def _environment(self, repository: Repository, *, location_is_secret: bool) -> dict[str, Text | Reference]:
        values: dict[str, Text | Reference] = {}
        if location_is_secret:
            values[_REPOSITORY] = repository.location
        if repository.password.reference is not None and repository.password.hook is None:
            values[_PASSWORD] = repository.password.reference
        return values

    def _own_words(self, step: Step) -> list[Text]:
        """What the profile's own keys say about the command."""
        profile = self._profile
        words: list[Text] = []
        if step.command == "backup":
            words += [Text(f"--exclude={one.value}", f"--exclude={one.shown}") for one in profile.excludes]
            words += [Text.plain(f"--tag={profile.tag}")] if profile.tag else []
        if step.command == "forget" and not any(flag.name in _FILTERS for flag in step.flags):
            # A repository may be shared: only snapshots that this profile made are its own to forget.
            words.append(Text.plain(f"--host={self._host()}"))
            words += [Text.plain(f"--tag={profile.tag}")] if profile.tag else []
        if self._dry_run:
            words.append(Text.plain("--dry-run"))
        return words

    def _host(self) -> str:
        backup = self._profile.step("backup")
        named = [flag.value.value for flag in backup.flags if flag.name == "--host" and flag.value] if backup else []
        return named[-1] if named else environment("HOST") or socket.gethostname()


def options_of_run(profile: Profile, extra: Sequence[PluginOption], hooks: Iterable[str]) -> Sequence[PluginOption]:
    """The options of these hooks, which are those around the whole run."""
    taking_part = {alias for hook in hooks for alias in plugin_aliases(PluginKind.HOOK, hook)}
    return [option for option in merged_options(profile.options, extra) if option.plugin in taking_part]


def _concerns(plugin: str, command: str, hooks: Iterable[str]) -> bool:
    kinds = kinds_called(plugin)
    if kinds == [PluginKind.HOOK]:
        return plugin in hooks
    if kinds == [PluginKind.SOURCE]:
        return command == "backup"
    return True


def _last_ones(*groups: Sequence[Flag]) -> Iterator[Flag]:
    """The flags, those of a later group in place of those of the same name in earlier ones."""
    by_name: dict[str, Sequence[Flag]] = {}
    for group in groups:
        for name in dict.fromkeys(flag.name for flag in group):
            by_name[name] = [flag for flag in group if flag.name == name]
    for flags in by_name.values():
        yield from flags


def _words(flags: Iterable[Flag]) -> list[Text]:
    return [word for flag in flags for word in flag.words]


def _quoted(word: Text) -> str:
    return shlex.quote(word.shown)


def shown_value(value: Text | Reference) -> str:
    """The value for a shell, hidden where it is secret."""
    return shlex.quote(value.shown) if isinstance(value, Text) else f"'{HIDDEN} ({value.shown})'"

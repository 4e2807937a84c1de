"""A profile's table, with what it inherits, as a `Profile`: every key held to what it may say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from limpet import registry
from limpet.cli.configuration.document import Setting, Table
from limpet.cli.configuration.expansion import Text, holds_literal_secret
from limpet.cli.configuration.flags import Flag, flags_of, global_flags, read_flags
from limpet.cli.configuration.inheritance import EXTEND, EXTENDABLE, INHERITS, lineage_names, with_inherited
from limpet.cli.configuration.plugin_options import PluginOption, kinds_called, plugin_aliases, read_options
from limpet.cli.configuration.profiles import EVERY, RUN, Password, Profile, Schedule, Step
from limpet.cli.configuration.reading import TableReader, Tell, stop_at, unknown
from limpet.cli.configuration.references import WAYS, Reference, ReferenceKind, read_reference
from limpet.cli.configuration.repositories import (
    PASSWORD_KEYS,
    read_password,
    read_repositories,
    read_repository,
)
from limpet.contracts.secret import looks_secret
from limpet.registry.kinds import PluginKind
from limpet.registry.loading import names

TABLES: Mapping[str, str] = {"backup": "backup", "retention": "forget", "prune": "prune", "check": "check"}
"""The tables of a profile that are about one command, in the order in which the commands run."""
PROFILE_KEYS = (
    INHERITS,
    "description",
    "repositories",
    *PASSWORD_KEYS,
    "sources",
    "excludes",
    "tag",
    "hooks",
    "options",
    "environment",
    "flags",
    *TABLES,
    "schedule",
)
HOOK_KEYS = (RUN, EVERY, *TABLES)
SCHEDULE_KEYS = (
    "at",
    "randomized-delay",
    "persistent",
    "nice",
    "io-class",
    "sandbox",
    "environment-file",
    "service",
)
IO_CLASSES = ("idle", "best-effort", "realtime", "none")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Resolver:
    """Resolves the profiles of one configuration. `tell` takes each mistake; by default the first one ends it."""

    def __init__(self, document: Table, folder: Path, tell: Tell = stop_at) -> None:
        self._folder = folder
        self._tell = tell
        reader = TableReader(document, ("profiles", "repositories"), tell)
        self.profiles = self._tables(reader.table("profiles"))
        self.repositories = self._tables(reader.table("repositories"))

    def _tables(self, table: Table | None) -> dict[str, Table]:
        found = {}
        for name, entry in table.entries.items() if table else ():
            if not isinstance(entry, Table):
                self._tell(entry.place.mistake(f"should be a table: `[{entry.place.key}]`"))
            elif not _NAME.fullmatch(name):
                self._tell(entry.place.mistake("a name has letters, digits, - and _ only"))
            else:
                found[name] = entry
        return found

    def profile(self, name: str) -> Profile:
        """The profile of this name, which has to be one of `profiles`."""
        table = with_inherited(name, self.profiles)
        known = [*PROFILE_KEYS, *(f"{EXTEND}{key}" for key in EXTENDABLE)]
        reader = TableReader(table, known, self._tell)
        password = read_password(reader, self._tell)
        options = read_options(reader.table("options"), self._tell)
        description, tag = reader.text("description"), reader.text("tag")
        profile = Profile(
            name=name,
            folder=self._folder,
            place=table.place,
            table=table,
            lineage=lineage_names(name, self.profiles),
            description=description.value if description else "",
            repositories=read_repositories(reader, self.repositories, password, self._tell),
            sources=self._sources(reader),
            excludes=reader.texts("excludes") or (),
            tag=name if tag is None else tag.value,
            hooks=self._hooks(reader.table("hooks")),
            options=options,
            environment=self._environment(reader.table("environment")),
            flags=self._global_flags(reader.table("flags")),
            steps=tuple(self._steps(reader)),
            schedule=self._schedule(reader.table("schedule")),
        )
        self._require_used_hooks(profile)
        return profile

    def check_repositories(self) -> None:
        """Tell of what is wrong with any repository, used or not."""
        for name, table in self.repositories.items():
            read_repository(name, table, Password(), self._tell)

    def _sources(self, reader: TableReader) -> tuple[Text, ...]:
        setting = reader.setting("sources")
        for item in setting.items if setting else ():
            if isinstance(item.value, str) and holds_literal_secret(item.value):
                self._tell(item.place.mistake("holds a password; the source has options for that"))
                return ()
        return reader.texts("sources") or ()

    def _hooks(self, table: Table | None) -> dict[str, tuple[str, ...]]:
        if table is None:
            return {}
        reader = TableReader(table, HOOK_KEYS, self._tell)
        found = {}
        installed = names(PluginKind.HOOK)
        for key in HOOK_KEYS:
            texts = reader.texts(key) or ()
            for text in texts:
                if not registry.is_installed(PluginKind.HOOK, text.value):
                    self._tell(reader.where(key).mistake(unknown(text.value, installed, "installed hook")))
            found[TABLES.get(key, key)] = tuple(text.value for text in texts)
        return found

    def _environment(self, table: Table | None) -> dict[str, Text | Reference]:
        if table is None:
            return {}
        reader = TableReader(table, table.entries.keys(), self._tell)
        found: dict[str, Text | Reference] = {}
        for name, entry in table.entries.items():
            value: Text | Reference | None
            if looks_secret(name) or isinstance(entry, Table):
                kinds = (ReferenceKind.VARIABLE, ReferenceKind.FILE, ReferenceKind.COMMAND)
                refusal = f"is secret by its name and does not belong in this file: {WAYS}"
                # `PGPASSFILE` and its like name a file, which is no secret.
                is_file = isinstance(entry, Setting) and "FILE" in name.upper()
                value = (
                    reader.text(name) if is_file else read_reference(entry, self._tell, kinds=kinds, refusal=refusal)
                )
            else:
                value = reader.text(name, takes_secret=True)
            if value is not None:
                found[name] = value
        return found

    def _global_flags(self, table: Table | None) -> Sequence[Flag]:
        return read_flags(table, global_flags(), self._tell) if table else ()

    def _steps(self, reader: TableReader) -> Iterator[Step]:
        for key, command in TABLES.items():
            table = reader.table(key)
            if table is None and (key != "backup" or reader.entry("sources") is None):
                continue
            flags = read_flags(table, flags_of(command), self._tell) if table else []
            if command == "forget" and table and not any(name.startswith("keep-") for name in table.entries):
                self._tell(table.place.mistake("says not what to keep: `keep-daily = 7`, ..."))
            yield Step(command, flags, table.place if table else reader.place)

    def _schedule(self, table: Table | None) -> Schedule | None:
        if table is None:
            return None
        reader = TableReader(table, SCHEDULE_KEYS, self._tell)
        setting = reader.setting("at")
        texts = reader.texts("at")
        if not setting or not texts:
            self._tell(table.place.mistake("has no `at = \"...\"`: a time of systemd's or five fields of cron's"))
            return None
        delay, io_class = reader.text("randomized-delay"), reader.text("io-class")
        if io_class is not None and io_class.value not in IO_CLASSES:
            self._tell(reader.where("io-class").mistake(unknown(io_class.value, IO_CLASSES, "I/O class")))
        service = reader.table("service")
        persistent, sandbox = reader.switch("persistent"), reader.switch("sandbox")
        return Schedule(
            at=[(text.value, item.place) for text, item in zip(texts, setting.items, strict=False)],
            place=reader.where("at"),
            randomized_delay=delay.value if delay else None,
            persistent=persistent is not False,
            nice=self._nice(reader),
            io_class=io_class.value if io_class else "idle",
            sandbox=sandbox is not False,
            environment_file=reader.text("environment-file"),
            service=dict(service.settings()) if service else {},
        )

    def _nice(self, reader: TableReader) -> int:
        setting = reader.setting("nice")
        if setting is None:
            return 10
        if isinstance(setting.value, bool) or not isinstance(setting.value, int) or not -20 <= setting.value <= 19:
            self._tell(setting.place.mistake(f"{setting.value!r} is no number from -20 to 19"))
            return 10
        return setting.value

    def _require_used_hooks(self, profile: Profile) -> None:
        """An option would turn a hook on; here `hooks` says where it takes part, and must not be forgotten."""
        used = {name for hooks in profile.hooks.values() for name in hooks}
        used |= {repository.password.hook for repository in profile.repositories if repository.password.hook}
        used = {alias for name in used for alias in plugin_aliases(PluginKind.HOOK, name)}
        groups: list[Sequence[PluginOption]] = [profile.options, *(each.options for each in profile.repositories)]
        for option in (option for group in groups for option in group):
            if kinds_called(option.plugin) == [PluginKind.HOOK] and option.plugin not in used:
                self._tell(
                    option.place.mistake(
                        f"the hook {option.plugin} takes part nowhere: name it in `hooks`, under "
                        f"{', '.join(HOOK_KEYS[:-1])} or {HOOK_KEYS[-1]}"
                    )
                )


def key_of(command: str) -> str:
    """The key that stands for a command, or for `run` and `every`, in the table `hooks`."""
    return next((key for key, name in TABLES.items() if name == command), command)

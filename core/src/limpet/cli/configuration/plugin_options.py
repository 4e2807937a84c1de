"""Options of plugins in the configuration, held to the plugins' own declarations; secrets by reference only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from limpet import registry
from limpet.cli.configuration.document import ConfigurationError, Place, Setting, Table
from limpet.cli.configuration.expansion import HIDDEN, Text, expand
from limpet.cli.configuration.reading import Tell, unknown
from limpet.cli.configuration.references import WAYS, Reference, ReferenceKind, read_reference
from limpet.contracts.options import Option
from limpet.errors import LimpetError
from limpet.registry.kinds import PluginKind
from limpet.registry.listing import declared_options
from limpet.registry.loading import aliases, load, names
from limpet.registry.option_values import parse_value

_REFERENCES = (ReferenceKind.VARIABLE, ReferenceKind.FILE, ReferenceKind.COMMAND)


@dataclass(frozen=True, slots=True)
class PluginOption:
    """One option by its full name, `s3.region`. A secret one holds a reference in place of the text."""

    name: str
    value: Text | Reference
    declared: Option
    place: Place

    @property
    def plugin(self) -> str:
        """The plugin it belongs to."""
        return self.name.partition(".")[0]

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be seen."""
        return isinstance(self.value, Reference) or self.declared.secret or self.value.has_secret

    @property
    def shown(self) -> str:
        """`s3.region=eu`, without any secret."""
        shown = self.value.shown if isinstance(self.value, Text) else f"{HIDDEN} ({self.value.shown})"
        return f"{self.name}={shown}"

    def read(self, folder: Path) -> str:
        """The value, fetched if need be; ConfigurationError where that fails or it is not of the declared type."""
        if isinstance(self.value, Text):
            return self.value.value
        text = self.value.read(folder)
        _check_type(self.declared, text, self.place)
        return text


def read_options(table: Table | None, tell: Tell) -> tuple[PluginOption, ...]:
    """The options of a table: `s3.region = "eu"`, or `region = "eu"` in a table of its own for s3."""
    if table is None:
        return ()
    found: dict[str, PluginOption] = {}
    for name, entry in _by_full_name(table, tell):
        option = _option(name, entry, tell)
        if option is None:
            continue
        if option.name in found:
            tell(option.place.mistake(f"given twice, as line {found[option.name].place.line} says the same option"))
        found[option.name] = option
    return tuple(found.values())


def merged_options(*groups: Sequence[PluginOption]) -> tuple[PluginOption, ...]:
    """All options, those of later groups in place of those of earlier ones."""
    return tuple({option.name: option for group in groups for option in group}.values())


def kinds_called(plugin: str) -> Sequence[PluginKind]:
    """The kinds of which a plugin of this name is installed."""
    return [kind for kind in PluginKind if registry.is_installed(kind, plugin)]


def plugin_aliases(kind: PluginKind, plugin: str) -> Sequence[str]:
    """All names of the plugin, whichever of them is given."""
    return aliases(kind, plugin) or [plugin]


def _by_full_name(table: Table, tell: Tell) -> Iterator[tuple[str, Setting | Table]]:
    for key, entry in table.entries.items():
        if "." in key:
            yield key, entry
        elif isinstance(entry, Table):
            yield from ((f"{key}.{name}", inner) for name, inner in entry.entries.items())
        else:
            tell(entry.place.mistake(f"an option has its plugin's name in front: `PLUGIN.{key} = ...`"))


def _option(name: str, entry: Setting | Table, tell: Tell) -> PluginOption | None:
    plugin, _, own_name = name.partition(".")
    kinds = kinds_called(plugin)
    if not kinds:
        known = sorted({each for kind in PluginKind for each in names(kind)})
        tell(entry.place.mistake(unknown(plugin, known, "installed plugin")))
        return None
    try:
        declared = {option.name: option for kind in kinds for option in declared_options(kind, load(kind, plugin))}
    except LimpetError as error:  # it is broken
        tell(entry.place.mistake(str(error)))
        return None
    found = next((option for option in declared.values() if _alike(option.name) == _alike(own_name)), None)
    if found is None:
        tell(entry.place.mistake(unknown(own_name, declared, f"option of {plugin}")))
        return None
    full_name = f"{plugin}.{found.name}"
    value: Text | Reference | None
    if found.secret or isinstance(entry, Table):
        refusal = f"is secret and does not belong in this file: {WAYS}"
        value = read_reference(entry, tell, kinds=_REFERENCES, refusal=refusal)
    else:
        value = _text(found, entry, tell)
    return None if value is None else PluginOption(full_name, value, found, entry.place)


def _text(declared: Option, setting: Setting, tell: Tell) -> Text | None:
    raw = setting.value
    if isinstance(raw, list):
        tell(setting.place.mistake("takes one value, not a list"))
        return None
    try:
        text = expand(str(raw).lower() if isinstance(raw, bool) else str(raw), setting.place)
        _check_type(declared, text.value, setting.place)
    except ConfigurationError as mistake:
        tell(mistake)
        return None
    return text


def _check_type(declared: Option, text: str, place: Place) -> None:
    try:
        parse_value(declared, text, declared.name)
    except LimpetError as error:
        raise place.mistake(str(error).partition(": ")[2]) from None


def _alike(name: str) -> str:
    return name.lower().replace("_", "-")

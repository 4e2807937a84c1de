"""What a profile is together with those it inherits from: tables are merged, any other value replaces the older one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limpet.cli.configuration.document import Setting, Table
from limpet.cli.configuration.reading import unknown

INHERITS = "inherits"
EXTEND = "extend-"
EXTENDABLE = ("sources", "excludes", "repositories")
"""Lists of a profile that `extend-...` adds to instead of replacing them."""


def with_inherited(name: str, profiles: Mapping[str, Table]) -> Table:
    """The whole profile; ConfigurationError for a parent that is none, and for profiles that inherit in a ring."""
    merged: Table | None = None
    for table in reversed(_lineage(name, profiles)):
        merged = _merged(merged, table)
    assert merged is not None, "a profile is part of its own lineage"
    return merged


def lineage_names(name: str, profiles: Mapping[str, Table]) -> Sequence[str]:
    """The profile and those it inherits from, the nearest first; errors as `with_inherited`."""
    names = [name]
    while (parent := _parent(profiles[names[-1]])) is not None:
        if parent.value not in profiles:
            raise parent.place.mistake(unknown(str(parent.value), profiles, "profile"))
        if parent.value in names:
            ring = " -> ".join([*names[names.index(str(parent.value)) :], str(parent.value)])
            raise parent.place.mistake(f"profiles inherit from each other in a ring: {ring}")
        names.append(str(parent.value))
    return names


def _lineage(name: str, profiles: Mapping[str, Table]) -> list[Table]:
    return [profiles[each] for each in lineage_names(name, profiles)]


def _parent(table: Table) -> Setting | None:
    entry = table.entries.get(INHERITS)
    if entry is None:
        return None
    if not isinstance(entry, Setting) or not isinstance(entry.value, str):
        raise entry.place.mistake("should be the name of one profile, in quotes")
    return entry


def _merged(older: Table | None, younger: Table) -> Table:
    entries = dict(older.entries) if older else {}
    # Additions last: a profile may give a list and add to it, in any order.
    for key, entry in sorted(younger.entries.items(), key=lambda item: item[0].startswith(EXTEND)):
        before = entries.get(key)
        extended = key.removeprefix(EXTEND)
        if extended != key and extended in EXTENDABLE and isinstance(entry, Setting):
            entries[extended] = _joined(entries.get(extended), entry)
        elif isinstance(entry, Table):
            entries[key] = _merged(before if isinstance(before, Table) else None, entry)
        else:
            entries[key] = entry
    return Table(entries, younger.place)


def _joined(before: Setting | Table | None, added: Setting) -> Setting:
    if isinstance(before, Table):
        raise before.place.mistake("should be a list, as another profile adds to it")
    items = [*(before.items if before else ()), *added.items]
    return Setting([item.value for item in items], added.place, joined=items)

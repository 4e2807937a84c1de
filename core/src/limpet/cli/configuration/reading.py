"""Tables read key by key: each of a declared kind, an unknown one told with its nearest neighbour."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection

from limpet.cli.configuration.document import ConfigurationError, Place, Setting, Table
from limpet.cli.configuration.expansion import Text, expand

Tell = Callable[[ConfigurationError], None]
"""Takes a mistake: raises it, or collects it so that all are told at once."""


def stop_at(mistake: ConfigurationError) -> None:
    """The first mistake ends it."""
    raise mistake


def unknown(name: str, known: Collection[str], what: str) -> str:
    """What to say of a name that is none: the nearest right one, else all of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"{name!r} is no {what}; did you mean {near[0]!r}?"
    return f"{name!r} is no {what}; known: {', '.join(sorted(known)) or 'none'}"


class TableReader:
    """One table with the keys that it may have. What is wrong is told, and then missing."""

    def __init__(self, table: Table, known: Collection[str], tell: Tell = stop_at) -> None:
        self._table = table
        self._tell = tell
        self.place = table.place
        for key, entry in table.entries.items():
            if key not in known:
                tell(entry.place.mistake(unknown(key, known, "key here")))

    def where(self, key: str) -> Place:
        """The place of a key; the table's own where it is not given."""
        entry = self._table.entries.get(key)
        return self.place if entry is None else entry.place

    def setting(self, key: str) -> Setting | None:
        """The value as it is written."""
        entry = self._table.entries.get(key)
        if isinstance(entry, Table):
            self._tell(entry.place.mistake("is a table, and should be a value"))
            return None
        return entry

    def table(self, key: str) -> Table | None:
        """The inner table."""
        entry = self._table.entries.get(key)
        if isinstance(entry, Setting):
            self._tell(entry.place.mistake(f"should be a table: `[{entry.place.key}]` with keys of its own"))
            return None
        return entry

    def entry(self, key: str) -> Setting | Table | None:
        """Whichever it is."""
        return self._table.entries.get(key)

    def text(self, key: str, *, takes_secret: bool = False) -> Text | None:
        """The value, which has to be text."""
        setting = self.setting(key)
        return None if setting is None else self._text(setting, takes_secret=takes_secret)

    def texts(self, key: str) -> tuple[Text, ...] | None:
        """A list of texts; a single one is a list of one."""
        setting = self.setting(key)
        if setting is None:
            return None
        found = [self._text(item) for item in setting.items]
        return tuple(text for text in found if text is not None)

    def switch(self, key: str) -> bool | None:
        """true or false."""
        setting = self.setting(key)
        if setting is None or isinstance(setting.value, bool):
            return None if setting is None else bool(setting.value)
        self._tell(setting.place.mistake(f"{setting.value!r} is neither true nor false"))
        return None

    def _text(self, setting: Setting, *, takes_secret: bool = False) -> Text | None:
        if not isinstance(setting.value, str):
            self._tell(setting.place.mistake(f"{setting.value!r} is no text; text goes in quotes"))
            return None
        try:
            text = expand(setting.value, setting.place)
        except ConfigurationError as mistake:
            self._tell(mistake)
            return None
        if text.has_secret and not takes_secret:
            self._tell(setting.place.mistake(refused_secret(text)))
            return None
        return text


def refused_secret(text: Text) -> str:
    """Why a secret cannot stand where everybody would see it."""
    return (
        f"{text.shown!r} takes in a variable that is secret by its name, and would show in the list of processes; "
        "secrets may stand in `location`, `password`, `options` and `environment`"
    )

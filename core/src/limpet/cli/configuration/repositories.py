"""The repositories of a profile: tables of their own, or plain locations; and where their passwords come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from limpet import registry
from limpet.cli.configuration.document import ConfigurationError, Setting, Table
from limpet.cli.configuration.expansion import Text, expand, holds_literal_secret
from limpet.cli.configuration.flags import global_flags, read_flags
from limpet.cli.configuration.plugin_options import read_options
from limpet.cli.configuration.profiles import Password, Repository
from limpet.cli.configuration.reading import TableReader, Tell, unknown
from limpet.cli.configuration.references import WAYS, ReferenceKind, read_reference
from limpet.errors import LimpetError
from limpet.registry.location import is_plain_path

PASSWORD_KEYS = ("password", "password-file", "password-command")
_OWN_KEYS = ("location", "options", *PASSWORD_KEYS)
_PASSWORD_REFUSED = (
    'a password does not belong in this file; write it into another one and name that: `password-file = "..."`, or '
    f'`password-command = "..."`, or `password = ...` with {WAYS}, or {{ hook = "keyring" }}'
)
_SECRET_IN_LOCATION = 'holds a password; take it from the environment: "${NAME}" in its place'


def read_repositories(
    profile: TableReader, tables: Mapping[str, Table], default: Password, tell: Tell
) -> tuple[Repository, ...]:
    """Those that the profile's `repositories` names; a plain location is opened with the profile's own password."""
    setting = profile.setting("repositories")
    found: dict[str, Repository] = {}
    for item in setting.items if setting else ():
        if isinstance(item.value, str) and item.value in tables:
            repository = read_repository(item.value, tables[item.value], default, tell)
        else:
            repository = _from_location(item, tables, default, tell)
        if repository is None:
            continue
        if repository.name in found:
            tell(item.place.mistake(f"{repository.name!r} is named twice"))
        found[repository.name] = repository
    return tuple(found.values())


def read_password(reader: TableReader, tell: Tell) -> Password:
    """Where a table says that the password comes from; all empty if it does not."""
    given = [key for key in PASSWORD_KEYS if reader.entry(key) is not None]
    if len(given) > 1:
        tell(reader.where(given[1]).mistake(f"{given[0]} says already where the password comes from"))
    place = reader.where(given[0]) if given else None
    literal = reader.entry("password")
    reference = None
    if literal is not None:
        reference = read_reference(literal, tell, kinds=tuple(ReferenceKind), refusal=_PASSWORD_REFUSED)
    file, command = reader.text("password-file"), reader.text("password-command")
    if reference is not None and reference.kind is ReferenceKind.FILE:
        return Password(file=reference.target, place=place)
    if reference is not None and reference.kind is ReferenceKind.COMMAND:
        return Password(command=reference.target, place=place)
    return Password(file, command, reference, place)


def read_repository(name: str, table: Table, default: Password, tell: Tell) -> Repository | None:
    """The repository that a table of its own describes; None where its location cannot be used."""
    flags = global_flags()
    reader = TableReader(table, [*_OWN_KEYS, *flags], tell)
    setting = reader.setting("location")
    if setting is None:
        tell(table.place.mistake('has no `location = "..."`'))
        return None
    location = _location(setting, tell)
    if location is None:
        return None
    return Repository(
        name=name,
        location=location,
        password=read_password(reader, tell) or default,
        place=setting.place,
        flags=read_flags(table, flags, tell, besides=_OWN_KEYS),
        options=read_options(reader.table("options"), tell),
    )


def _from_location(item: Setting, tables: Collection[str], default: Password, tell: Tell) -> Repository | None:
    location = _location(item, tell)
    if location is None:
        return None
    is_word = ":" not in location.value and not is_plain_path(location.value) and not location.has_secret
    if is_word and location.value.isidentifier():
        # A folder called so would be meant by `./name`; a name without a table is more likely a slip.
        tell(item.place.mistake(unknown(location.value, tables, "repository") + f" (a folder: ./{location.value})"))
        return None
    return Repository(location.shown, location, default, item.place)


def _location(setting: Setting, tell: Tell) -> Text | None:
    """The location, if its backend is installed and no secret is written into it."""
    if not isinstance(setting.value, str):
        tell(setting.place.mistake(f"{setting.value!r} is no text; text goes in quotes"))
        return None
    if holds_literal_secret(setting.value):
        tell(setting.place.mistake(_SECRET_IN_LOCATION))
        return None
    try:
        location = expand(setting.value, setting.place)
        parsed = registry.backend_location(location.value)
        registry.backend(parsed.scheme)
    except ConfigurationError as mistake:
        tell(mistake)
        return None
    except LimpetError as error:
        tell(setting.place.mistake(str(error)))
        return None
    return location

"""File names for databases: every name a database can have gets a safe one of its own, and is found again by it."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from limpet_source_postgres.formats import Format

GLOBALS = "globals.sql"
"""Roles, tablespaces and grants of the cluster."""
CREATION = "databases.sql"
"""What creates the databases: encoding, locale, owner, settings."""
BASE_BACKUP = "base.tar"
_RESERVED = {GLOBALS.removesuffix(".sql"), CREATION.removesuffix(".sql")}
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\%]")


def file_name(database: str, dump_format: Format) -> str:
    """`shop.sql`; what no file name should hold, and a name that this package uses itself, percent-encoded.

    The suffix makes `.` and `..` names like any other. With at most 63 bytes in a database's name it always fits.
    """
    name = _UNSAFE.sub(_encode, database)
    if database in _RESERVED:
        name = f"%{ord(database[0]):02X}{database[1:]}"
    return name + dump_format.suffix


def database_of(path: str) -> str | None:
    """The database whose dump is at the path, by the file's name; None for a file that is no database's."""
    name = path.rpartition("/")[2]
    if name in {GLOBALS, CREATION}:
        return None
    for dump_format in Format:
        if name.endswith(dump_format.suffix):
            encoded = name.removesuffix(dump_format.suffix)
            return unquote_to_bytes(encoded.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    return None


def _encode(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())

"""File names in the snapshot: every name a database can have gets a safe one of its own, and is found again by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

ALL_DATABASES = "all-databases"
SQL = ".sql"
PHYSICAL = "mariabackup.xbstream"
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\%]")
_UNSAFE_TABLE = re.compile(r"[\x00-\x1f\x7f/\\%,]")


def database_file(database: str, tables: Sequence[str] = ()) -> str:
    """`shop.sql`, or `shop/orders,items.sql` for some of its tables; what no file name should hold is percent-encoded.

    The name of the file with all databases is left to that one.
    """
    name = _UNSAFE.sub(_encode, database)
    if name == ALL_DATABASES:
        name = name.replace("-", "%2D")
    if not tables:
        return name + SQL
    folder = name.replace(".", "%2E") if name in {".", ".."} else name
    return f"{folder}/{','.join(_UNSAFE_TABLE.sub(_encode, table) for table in tables)}{SQL}"


def holds_all_databases(path: str) -> bool:
    """Whether the file at the path is the dump of a whole server, by its name."""
    return path.rpartition("/")[2] == ALL_DATABASES + SQL


def database_of(path: str) -> str | None:
    """The database that the file is of, by its name; None for another file, or for some tables of one."""
    name = path.rpartition("/")[2]
    if not name.endswith(SQL) or holds_all_databases(path):
        return None
    return unquote(name.removesuffix(SQL))


def _encode(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())

"""Columns of the type FLOAT: the server itself writes them with six digits, and so do all dumps as SQL.

Their values have room for seven to nine. The dump programs know no way around it; DOUBLE and DECIMAL are not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from limpet_source_mysql.server import SYSTEM_DATABASES, Server, quoted

_SHOWN = 3


def rounded_columns(server: Server, database: str, failed: Callable[[str], Exception]) -> Sequence[str]:
    """`shop.orders.weight` for each such column of the database, of all without a name."""
    where = f"= {quoted(database)}" if database else f"NOT IN ({', '.join(map(quoted, SYSTEM_DATABASES))})"
    return server.ask(
        "SELECT CONCAT_WS('.', c.table_schema, c.table_name, c.column_name) FROM information_schema.columns c"
        " JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name"
        f" WHERE t.table_type = 'BASE TABLE' AND c.data_type = 'float' AND c.table_schema {where} ORDER BY 1",
        failed,
    )


def words_about(columns: Sequence[str]) -> str:
    """A line about them for the user."""
    shown = ", ".join(columns[:_SHOWN]) + (", ..." if len(columns) > _SHOWN else "")
    return f"columns of the type FLOAT are dumped with six digits, as the server shows them: {shown}"

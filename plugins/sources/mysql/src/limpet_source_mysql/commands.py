"""The command lines of the programs that dump: what makes a dump whole, stable and good for other servers."""

from __future__ import annotations

from collections.abc import Sequence

from limpet_source_mysql.server import CHARACTER_SET, LARGEST_PACKET, Server, dump_program, first_program, is_mysqls_own

_MADE_BY_THE_SERVER = (
    "innodb_index_stats", "innodb_table_stats", "help_category", "help_keyword", "help_relation", "help_topic",
)  # fmt: skip
"""Of the database `mysql`: estimates, made anew whenever it likes, and the manual. Any server has its own."""


def dump_command(server: Server, database: str, tables: Sequence[str], excluded: Sequence[str]) -> list[str]:
    """The dump of a database, of some of its tables, or without a name of all databases with users and rights.

    What a user's own configuration could have turned off is said here.
    """
    program = dump_program()
    command = [
        program, *server.arguments,
        "--single-transaction", "--skip-lock-tables", "--quick", "--triggers", "--hex-blob", "--tz-utc",
        f"--default-character-set={CHARACTER_SET}", f"--max-allowed-packet={LARGEST_PACKET}",
        "--comments", "--skip-dump-date", "--skip-extended-insert", "--add-locks", "--add-drop-table",
        "--create-options", "--no-autocommit", "--no-tablespaces", "--skip-force",
    ]  # fmt: skip
    if is_mysqls_own(program):
        # Else a dump can only go into a server that has seen no transaction yet, and older servers cannot be asked.
        command += ["--set-gtid-purged=OFF", "--column-statistics=0"]
    if not tables:
        command += ["--routines", "--events"]
    if not database:
        left_out = [f"--ignore-table=mysql.{table}" for table in _MADE_BY_THE_SERVER]
        return [*command, "--all-databases", "--flush-privileges", *left_out]
    return [*command, *(f"--ignore-table={database}.{table}" for table in excluded), "--", database, *tables]


def physical_command(server: Server) -> list[str]:
    """A copy of the server's files with the log of what changed meanwhile, as one xbstream."""
    program = first_program("mariadb-backup", "mariabackup", "mariadb-backup")
    return [program, *server.arguments, "--backup", "--stream=xbstream"]

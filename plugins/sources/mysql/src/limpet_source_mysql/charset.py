"""The character set that a database gives to its new tables: a dump does not tell it, so we do, in a comment."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from limpet_source_mysql.server import Server, quoted

_HEADER = re.compile(rb"^-- Limpet: DEFAULT CHARACTER SET ([0-9A-Za-z_]+) COLLATE ([0-9A-Za-z_]+)$", re.MULTILINE)
_NAME = re.compile(r"[0-9A-Za-z_]+")


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """A character set and its order, as the server calls them."""

    name: str
    collation: str

    def header(self) -> bytes:
        """The comment for the dump's first lines."""
        return f"-- Limpet: {self.clause()}\n".encode()

    def clause(self) -> str:
        """Of CREATE DATABASE."""
        return f"DEFAULT CHARACTER SET {self.name} COLLATE {self.collation}"

    @classmethod
    def found(cls, head: bytes) -> CharacterSet | None:
        """What the comment in a dump's first bytes tells; None if there is none."""
        match = _HEADER.search(head)
        return None if match is None else cls(match[1].decode(), match[2].decode())


def ask_character_set(server: Server, database: str, failed: Callable[[str], Exception]) -> CharacterSet | None:
    """That of the database; None for all of them. Raises what `failed` makes of the reason.

    A server that does not let us in, or that has no such database, is found out by the question.
    """
    if not database:
        server.ask("SELECT 1", failed)
        return None
    answer = server.ask(
        "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata "
        f"WHERE schema_name = {quoted(database)}",
        failed,
    )
    if not answer:
        raise failed(f"{server.shown}: the server has no database {database!r}, or does not show it to this user")
    name, _, collation = answer[0].partition("\t")
    # A server that calls them otherwise than any we know: a comment is no place to try it out.
    return CharacterSet(name, collation) if _NAME.fullmatch(name) and _NAME.fullmatch(collation) else None

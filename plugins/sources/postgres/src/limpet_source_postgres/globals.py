"""The roles and tablespaces of a cluster, for a server that has some of them: pg_dumpall only creates anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from limpet.contracts.destination import Piece, StoredFile

# Each statement as pg_dumpall writes it. The role that restores keeps its password, or it would be locked out half-way.
_STATEMENTS_THERE = """
SELECT format('CREATE ROLE %I;', rolname) FROM pg_roles
UNION ALL SELECT format('ALTER ROLE %I WITH ', current_user)
UNION ALL SELECT format('CREATE TABLESPACE %I OWNER ', spcname) FROM pg_tablespace
"""


def without_what_is_there(file: StoredFile, ask: Callable[[str], Sequence[str]]) -> StoredFile:
    """The script without the statements that would fail; `ask` takes a question to the server."""
    script = b"".join(bytes(piece.size_bytes) if piece.data is None else bytes(piece.data) for piece in file.pieces())
    for statement in ask(_STATEMENTS_THERE):
        begin = statement.encode("utf-8", "surrogateescape")
        script = re.sub(rb"^" + re.escape(begin) + rb".*\n", b"", script, flags=re.MULTILINE)
    return replace(file, size_bytes=len(script), pieces=lambda: iter([Piece(len(script), script)]))

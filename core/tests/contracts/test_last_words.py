"""What a child complained of: the line that a user is shown says what went wrong."""

from __future__ import annotations

import pytest
from limpet.contracts.process import OutputProcess


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (["first", "second", ""], "second"),
        (["pg_dump: error: cut off", "hint: try again", "Command was: COPY t"], "pg_dump: error: cut off"),
        (["warning: slow", "ERROR: one", "ERROR: two", "^"], "ERROR: two"),
        (["no terrors here", "the end"], "the end"),
        ([], ""),
    ],
)
def test_last_words(said: list[str], words: str) -> None:
    """With `Command was: ...` as the reason, nobody learns that the server went away."""
    heard: list[str] = []
    process = OutputProcess(["sh", "-c", 'printf "%s\\n" "$@" >&2', "sh", *said], heard.append)
    assert process.wait() is None
    process.end()
    process.output.close()
    assert process.last_words == words
    assert heard == [f"subprocess sh: {line}" for line in said or [""]]

"""The lines of a run that hooks are told: the last ones, and none with a secret."""

from __future__ import annotations

import pytest
from limpet.cli.run_log import RunLog, without_secrets


def test_the_last_lines_are_kept() -> None:
    """What went wrong stands at the end; a run that tells of a million files must not keep them all."""
    log = RunLog(limit_characters=100)
    for number in range(1000):
        log.add(f"line {number}", is_warning=number % 2 == 0)
    assert log.lines[-1] == "line 999"
    assert 80 <= sum(map(len, log.lines)) <= 100
    assert log.warnings == 500


def test_lines_of_their_own_and_too_long() -> None:
    """A message of several lines comes out as such; one that is longer than all may be is cut."""
    log = RunLog(limit_characters=100)
    log.add("first\nsecond\n")
    assert log.lines == ("first", "second")
    log.add("x" * 1000)
    assert list(log.lines) == ["x" * 100]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("cannot reach http://u:s3cret@host:80/x: refused", "cannot reach http://u:***@host:80/x: refused"),
        ("postgresql://app:s3/cr@et@h/db failed", "postgresql://app:***@h/db failed"),
        ("GET https://h/x?sig=s3cret&n=1 gave 403", "GET https://h/x?sig=***&n=1 gave 403"),
        ("error: a: b@c, http://h:80/ and x@y", "error: a: b@c, http://h:80/ and x@y"),
        ("write to me@example.org at 12:30", "write to me@example.org at 12:30"),
    ],
)
def test_secrets_stay_here(line: str, shown: str) -> None:
    """Tools that are called name addresses with passwords in their messages, which go out to monitors."""
    assert without_secrets(line) == shown

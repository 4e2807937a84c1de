"""What `Retry-After` says, in the forms that servers give it."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from limpet.contracts.retry_after import retry_after_s


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (" 120 ", 120.0), ("0", 0.0), ("9" * 40, 1e40)])
def test_seconds(header: str, seconds: float) -> None:
    """A server that is asked again too early keeps saying no."""
    assert retry_after_s(header) == pytest.approx(seconds)


@pytest.mark.parametrize("usegmt", [True, False])
def test_date(usegmt: bool) -> None:
    """The other form of the header: a server that gives it is overloaded just the same."""
    header = formatdate(time.time() + 3600, usegmt=usegmt)  # without usegmt: "-0000"
    assert retry_after_s(header) == pytest.approx(3600, abs=60)


def test_date_that_is_over() -> None:
    """A clock that goes ahead of the server's must not make a negative pause."""
    assert retry_after_s(formatdate(time.time() - 3600, usegmt=True)) == 0


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "1.5", "²", "Wed, 99 Foo 2026 99:99:99 GMT"])
def test_nothing_that_makes_sense(header: str | None) -> None:
    """Nonsense of a proxy in between must not break the backup that would only have to try again."""
    assert retry_after_s(header) is None

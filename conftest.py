"""Fixtures for every test of the project: the real restic binaries.

`restic_new` is restic 0.19 (LIMPET_RESTIC, else `.cache/peers/usr/bin/restic` below the project), `restic_old` is
restic 0.14 (LIMPET_RESTIC_014, else `restic` on PATH), `restic_any` runs the test with both. A missing binary skips
the test, or fails it where LIMPET_REQUIRE_SERVICES=1.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

ROOT = Path(__file__).parent


def pytest_configure() -> None:
    """Ctrl-C means what it means to a user, also where the run was started with it ignored, as shells do with `&`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """A test that runs the command line in this process leaves its handlers behind: the next one wants the usual."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def restic_new() -> Restic:
    """restic 0.19."""
    return _restic("LIMPET_RESTIC", ROOT / ".cache/peers/usr/bin/restic", "0.19.")


@pytest.fixture(scope="session")
def restic_old() -> Restic:
    """restic 0.14."""
    on_path = shutil.which("restic")
    return _restic("LIMPET_RESTIC_014", Path(on_path) if on_path else None, "0.14.")


@pytest.fixture(scope="session", params=["restic_old", "restic_new"])
def restic_any(request: pytest.FixtureRequest) -> Restic:
    """Each of the two."""
    restic = request.getfixturevalue(request.param)
    assert isinstance(restic, Restic)
    return restic


def _restic(variable: str, default: Path | None, version: str) -> Restic:
    named = os.environ.get(variable)
    binary = Path(named) if named else default
    if binary is None or not binary.is_file():
        return _unavailable(f"no restic {version}x: name its binary in {variable}")
    restic = Restic(binary)
    if not restic.version().startswith(version):
        return _unavailable(f"{binary} is restic {restic.version()}, not {version}x: name another in {variable}")
    return restic


def _unavailable(reason: str) -> Restic:
    if os.environ.get("LIMPET_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)

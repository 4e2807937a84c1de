"""Names of snapshots: a leftover is found, and what a run still reads from is not taken for one."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from limpet.contracts.snapshot_names import is_leftover, is_snapshot_name, new_snapshot_name


def test_names_of_this_process() -> None:
    """Two snapshots of one run must not be one, and neither is a leftover while the run lives."""
    first, second = new_snapshot_name(), new_snapshot_name()
    assert first != second
    for name in (first, second):
        assert is_snapshot_name(name)
        assert not is_leftover(name)
        assert re.fullmatch(r"[a-z0-9-]{10,80}", name), "LVM, Btrfs and ZFS all take it"


def test_a_process_that_is_gone() -> None:
    """Its snapshot is in the way of nobody but the disk's free space."""
    program = "from limpet.contracts.snapshot_names import new_snapshot_name; print(new_snapshot_name())"
    name = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert is_snapshot_name(name)
    assert is_leftover(name)


def test_a_process_with_the_same_number() -> None:
    """Numbers are used again: the time of the start tells one from the other."""
    *begin, started, number = new_snapshot_name().split("-")
    assert is_leftover("-".join([*begin, str(int(started) - 1), number]))


def test_another_boot_and_another_host() -> None:
    """After a power loss nobody is left; another host, or container, may well read on."""
    prefix, host, _, *rest = new_snapshot_name().split("-")
    assert is_leftover("-".join([prefix, host, "00000000", *rest]))
    assert not is_leftover("-".join([prefix, "00000000", "00000000", *rest]))


@pytest.mark.parametrize("name", ["", "limpet", "limpet-1", "home", "limpet-backup-2026-01-01-1", "limpet-0-0-1-1-1"])
def test_what_others_made(name: str) -> None:
    """A snapshot that somebody made himself is never removed."""
    assert not is_snapshot_name(name)
    assert not is_leftover(name)

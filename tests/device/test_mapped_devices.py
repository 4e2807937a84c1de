"""Real dm-era and thin volumes: less is read, and every snapshot holds exactly what the device held."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.services.process import ROOT, program
from tests.services.virtual_machine import VirtualMachine

MIB = 1024 * 1024
DEVICE_BYTES = 48 * MIB
CONSTANT_BYTES = 20 * MIB
"""A file that none of them touches."""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came out of all backups in the machine."""
    for name in ("dmsetup", "era_invalidate", "thin_delta"):
        program(name)
    work = tmp_path_factory.mktemp("machine")
    script = work / "script"
    modules = "crc32c_generic libcrc32c dm-mod dm-era dm-thin-pool dm-flakey ext4 loop"
    script.write_text(
        f"export DM_DISABLE_UDEV=1\nfor module in {modules}; do modprobe $module; done\n"
        f"cd {ROOT} && {sys.executable} -m tests.device.mapped_devices /out\n"
    )
    done = VirtualMachine(work).run(script, disks_mib=[1024])
    assert done.succeeded, done.console
    found: dict[str, Any] = json.loads((done.out / "results.json").read_text())
    print(json.dumps(found, indent=1))
    return found


@pytest.mark.parametrize("scene", ["follow_era", "follow_thin", "fail_to_read", "fail_to_write"])
def test_nothing_went_wrong_in_the_machine(results: dict[str, Any], scene: str) -> None:
    """The other tests would look at half of what happened."""
    assert results.get(scene) is None


@pytest.mark.parametrize(
    "backup",
    [
        "era_first",
        "era_second",
        "era_after_frozen",
        "era_after_torn",
        "era_replaced",
        "thin_first",
        "thin_second",
        "thin_trimmed",
        "thin_reused",
        "thin_of_written",
    ],
)
def test_the_snapshot_holds_what_the_device_held(results: dict[str, Any], backup: str) -> None:
    """A range that is wrongly said to be unchanged is an old block in a file system: damage that nobody notices."""
    assert results[backup]["same"]


@pytest.mark.parametrize(
    ("backup", "first"),
    [
        ("era_second", "era_first"),
        ("era_frozen", "era_first"),
        ("era_after_frozen", "era_first"),
        ("era_after_torn", "era_first"),
        ("thin_second", "thin_first"),
    ],
)
def test_what_did_not_change_is_not_read(results: dict[str, Any], backup: str, first: str) -> None:
    """A terabyte of which a gigabyte changes a day can be backed up daily only like this."""
    assert results[backup]["unchanged"] > CONSTANT_BYTES
    assert results[backup]["read"] < results[first]["read"]


def test_what_a_thin_volume_has_not_mapped_is_not_read(results: dict[str, Any]) -> None:
    """A volume of a terabyte with little in it takes as long as what is in it."""
    assert results["era_first"]["holes"] == 0
    assert results["era_first"]["read"] >= DEVICE_BYTES
    assert 15 * MIB < results["thin_first"]["holes"] < DEVICE_BYTES - CONSTANT_BYTES
    assert results["thin_first"]["read"] < DEVICE_BYTES
    assert results["thin_trimmed"]["holes"] > results["thin_first"]["holes"] + CONSTANT_BYTES // 2


@pytest.mark.parametrize("backup", ["era_first", "era_replaced", "thin_first", "thin_reused", "thin_of_written"])
def test_all_is_read_where_the_memory_is_of_something_else(results: dict[str, Any], backup: str) -> None:
    """Numbers that begin anew look like those of last time."""
    assert results[backup]["unchanged"] == 0


def test_frozen_while_its_eras_are_followed(results: dict[str, Any]) -> None:
    """Freezing and following go together: the usual case of a file system in use."""
    assert results["era_frozen_content"] == "clean"


def test_a_bad_sector_makes_no_snapshot(results: dict[str, Any]) -> None:
    """A copy with a gap would be taken for good."""
    assert results["bad_sector"].startswith("/dev/mapper/bad: cannot be read")
    assert results["bad_sector"].endswith("Input/output error")
    assert results["bad_sector_snapshots"] == 0


def test_a_device_that_takes_no_writes(results: dict[str, Any]) -> None:
    """A restore that says nothing is believed."""
    assert results["bad_target"] == "/dev/mapper/flaky: cannot be written: Input/output error"
    assert results["good_target"]

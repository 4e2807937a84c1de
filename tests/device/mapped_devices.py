"""Backups of mapped devices, run as root in the virtual machine: `python -m tests.device.mapped_devices OUT`.

/dev/vda is cut into pieces; what comes out is written to OUT/results.json for the tests outside to judge.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limpet.contracts.destination import DestinationRequest, Piece, StoredFile
from limpet.contracts.options import OptionValue
from limpet.contracts.source import SourceRequest
from limpet.errors import LimpetError
from limpet.operations.backup import BackupResult
from limpet.operations.walk import walk
from limpet.testing.backups import BackupScene
from limpet_source_device import DeviceDestination, DeviceSource

SECTOR = 512
MIB = 1024 * 1024
BLOCK_SECTORS = 128
DEVICE_MIB = 48
POOL_UUID = "LIMPET-tests-pool"
MOUNT = Path("/run/mounted")
WORK = Path("/run/limpet")


class Machine:
    """One disk to cut, one repository, and the figures found so far."""

    def __init__(self) -> None:
        self.scene = BackupScene(WORK)
        self.results: dict[str, Any] = {}
        self._next_mib = 1

    def piece(self, name: str, size_mib: int) -> str:
        """A new device of zeros."""
        create(name, f"0 {size_mib * MIB // SECTOR} linear /dev/vda {self._next_mib * MIB // SECTOR}")
        self._next_mib += size_mib
        return f"/dev/mapper/{name}"

    def backup(self, device: str, **options: OptionValue) -> tuple[BackupResult, dict[str, Any]]:
        """Back it up, with the backup before as its parent: what came of it, how much was read, and known."""
        before = bytes_read(device)
        source = DeviceSource.open(SourceRequest([f"//{device}"], {"state": str(WORK / "state"), **options}))
        try:
            result = self.scene.backup(source)
            (target,) = source.targets()
            extents = target.entry.extents or ()
        finally:
            source.close()
        return result, {
            "read": bytes_read(device) - before,
            "holes": sum(extent.length_bytes for extent in extents if extent.is_hole),
            "unchanged": sum(extent.length_bytes for extent in extents if extent.is_unchanged),
        }

    def judged(self, device: str) -> dict[str, Any]:
        """The same with a device that is quiet, and whether the snapshot holds what the device does."""
        result, figures = self.backup(device)
        subprocess.run(["blockdev", "--flushbufs", device], check=True)
        return {**figures, "same": Path(device).read_bytes() == self.content(result)}

    def content(self, result: BackupResult) -> bytes:
        """Of the only file in the snapshot."""
        (node,) = (node for _, node in walk(self.scene.open(), result.tree) if node.content is not None)
        return self.scene.content(node)


def main(out: Path) -> None:
    """All of them, one after the other."""
    MOUNT.mkdir()
    for scene in (follow_era, follow_thin, fail_to_read, fail_to_write):
        machine = Machine()
        try:
            scene(machine)
        except Exception:
            machine.results[scene.__name__] = traceback.format_exc()
        merge(out / "results.json", machine.results)
        remove_all()


def remove_all() -> None:
    """All mapped devices: what others are made of goes once those are gone."""
    while "No devices found" not in (
        listed := subprocess.run(["dmsetup", "ls"], capture_output=True, text=True, check=False).stdout
    ):
        for line in listed.splitlines():
            subprocess.run(["dmsetup", "remove", line.split()[0]], check=False, capture_output=True)


def merge(file: Path, results: dict[str, Any]) -> None:
    """Add them to those in the file."""
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **results}))


def follow_era(machine: Machine) -> None:
    """dm-era: changes between backups, under freeze, while a backup reads, and a device made anew."""
    metadata, origin = machine.piece("era-metadata", 8), machine.piece("era-origin", DEVICE_MIB)
    device = "/dev/mapper/era"

    def make() -> None:
        subprocess.run(["dd", "if=/dev/zero", f"of={metadata}", "bs=1M", "count=1", "status=none"], check=True)
        create("era", f"0 {DEVICE_MIB * MIB // SECTOR} era {metadata} {origin} {BLOCK_SECTORS}")
        make_ext4(device)

    make()
    results = machine.results
    with mounted(device):
        (MOUNT / "constant").write_bytes(os.urandom(20 * MIB))
        (MOUNT / "changing").write_bytes(os.urandom(3 * MIB))
    results["era_first"] = machine.judged(device)
    with mounted(device):
        overwrite("changing", 1 * MIB, os.urandom(200_000))
    results["era_second"] = machine.judged(device)

    with mounted(device):
        overwrite("changing", 2 * MIB, b"frozen" * 1000)
        result, results["era_frozen"] = machine.backup(device, freeze=True)
        overwrite("changing", 0, b"after" * 1000)  # which also shows that it is thawed
        results["era_frozen_content"] = checked(machine.content(result), "changing", 2 * MIB, b"frozen" * 1000)
    results["era_after_frozen"] = machine.judged(device)

    with mounted(device), written_to("changing"):
        machine.backup(device, allow_mounted=True)
    results["era_after_torn"] = machine.judged(device)

    # The same name, but nothing in it is what it was; and the eras are counted from one again.
    subprocess.run(["dmsetup", "remove", "era"], check=True)
    make()
    with mounted(device):
        (MOUNT / "other").write_bytes(os.urandom(MIB))
    results["era_replaced"] = machine.judged(device)


def follow_thin(machine: Machine) -> None:
    """Thin snapshots: holes, what differs from the snapshot of last time, and one of last time that is another now."""
    metadata, data = machine.piece("thin-metadata", 8), machine.piece("thin-data", 2 * DEVICE_MIB)
    sectors = 2 * DEVICE_MIB * MIB // SECTOR
    subprocess.run(["dd", "if=/dev/zero", f"of={metadata}", "bs=1M", "count=1", "status=none"], check=True)
    create("pool", f"0 {sectors} thin-pool {metadata} {data} {BLOCK_SECTORS} 0", POOL_UUID)
    message("create_thin 0")
    activate("volume", 0)
    make_ext4("/dev/mapper/volume")
    with mounted("/dev/mapper/volume"):
        (MOUNT / "constant").write_bytes(os.urandom(20 * MIB))
        (MOUNT / "changing").write_bytes(os.urandom(3 * MIB))
    results = machine.results

    take_thin_snapshot(1)
    results["thin_first"] = machine.judged("/dev/mapper/snapshot")
    with mounted("/dev/mapper/volume"):
        overwrite("changing", 1 * MIB, os.urandom(200_000))
    take_thin_snapshot(2)
    results["thin_second"] = machine.judged("/dev/mapper/snapshot")

    message("delete 1")
    with mounted("/dev/mapper/volume"):
        (MOUNT / "constant").unlink()
        os.sync()  # blocks are free once the journal says so
        subprocess.run(["fstrim", MOUNT], check=True)
    take_thin_snapshot(3)
    results["thin_trimmed"] = machine.judged("/dev/mapper/snapshot")

    # The number of the one that was backed up last is given to another one.
    subprocess.run(["dmsetup", "remove", "snapshot"], check=True)
    message("delete 3")
    with mounted("/dev/mapper/volume"):
        overwrite("changing", 2 * MIB, os.urandom(200_000))
    take_thin_snapshot(3)
    with mounted("/dev/mapper/volume"):
        overwrite("changing", 0, os.urandom(200_000))
    take_thin_snapshot(4)
    results["thin_reused"] = machine.judged("/dev/mapper/snapshot")

    # Written to after it was backed up, and then the origin of the next one.
    with mounted("/dev/mapper/snapshot"):
        overwrite("changing", 2 * MIB, os.urandom(200_000))
    take_thin_snapshot(5, origin=4, active="snapshot")
    results["thin_of_written"] = machine.judged("/dev/mapper/snapshot")


def fail_to_read(machine: Machine) -> None:
    """A device with a bad sector: no snapshot."""
    part = machine.piece("good", 16)
    create("bad", f"0 16384 linear {part} 0\n16384 8 error\n16392 16376 linear {part} 16392")
    try:
        machine.backup("/dev/mapper/bad")
        machine.results["bad_sector"] = "a snapshot was made"
    except LimpetError as error:
        machine.results["bad_sector"] = str(error)
    machine.results["bad_sector_snapshots"] = len(machine.scene.snapshots())


def fail_to_write(machine: Machine) -> None:
    """A device that takes no writes: the restore says so; one that does holds what was restored."""
    part = machine.piece("target", 16)
    create("flaky", f"0 {16 * MIB // SECTOR} flakey {part} 0 0 3600 1 error_writes")
    content = os.urandom(4 * MIB)
    try:
        restore("/dev/mapper/flaky", content)
        machine.results["bad_target"] = "was restored"
    except LimpetError as error:
        machine.results["bad_target"] = str(error)
    subprocess.run(["dmsetup", "remove", "flaky"], check=True)
    restore(part, content)
    machine.results["good_target"] = Path(part).read_bytes()[: len(content)] == content


def restore(device: str, content: bytes) -> None:
    """Onto the device, verified."""
    destination = DeviceDestination.open(DestinationRequest(f"//{device}", {"verify": True}))
    try:
        destination.receive(StoredFile("/device/x", len(content), lambda: iter([Piece(len(content), content)])))
        destination.finish()
    finally:
        destination.close()


def create(name: str, table: str, uuid: str = "") -> None:
    """A mapped device."""
    options = ["--uuid", uuid] if uuid else []
    subprocess.run(["dmsetup", "create", name, *options], input=table + "\n", text=True, check=True)


def message(text: str) -> None:
    """To the pool."""
    subprocess.run(["dmsetup", "message", "pool", "0", text], check=True)


def activate(name: str, thin_id: int) -> None:
    """A thin volume of the pool as a device."""
    create(name, f"0 {DEVICE_MIB * MIB // SECTOR} thin /dev/mapper/pool {thin_id}")


def take_thin_snapshot(thin_id: int, origin: int = 0, active: str = "volume") -> None:
    """Of a volume as it is now, as the device `snapshot`."""
    subprocess.run(["dmsetup", "suspend", active], check=True)
    message(f"create_snap {thin_id} {origin}")
    subprocess.run(["dmsetup", "resume", active], check=True)
    subprocess.run(["dmsetup", "remove", "snapshot"], check=False, capture_output=True)
    activate("snapshot", thin_id)


def make_ext4(device: str) -> None:
    """An empty file system, all of its tables written now and not some time later."""
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", device], check=True)


@contextmanager
def mounted(device: str) -> Iterator[None]:
    """Mounted at MOUNT for the time being."""
    subprocess.run(["mount", device, MOUNT], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", MOUNT], check=True)


def overwrite(name: str, offset: int, data: bytes) -> None:
    """A part of a file, in place."""
    with (MOUNT / name).open("r+b") as file:
        file.seek(offset)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def written_to(name: str) -> Iterator[None]:
    """Somebody writes to the file all the time."""
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            overwrite(name, int.from_bytes(os.urandom(4), "big") % (2 * MIB), os.urandom(10_000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


def checked(content: bytes, name: str, offset: int, data: bytes) -> str:
    """What fsck says of an image, and whether a file in it holds the data."""
    image, place = WORK / "restored", WORK / "place"
    image.write_bytes(content)
    done = subprocess.run(["fsck.ext4", "-f", "-n", image], capture_output=True, text=True, check=False)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop,ro", image, place], check=True)
    try:
        same = (place / name).read_bytes()[offset : offset + len(data)] == data
    finally:
        subprocess.run(["umount", place], check=True)
    return "clean" if done.returncode == 0 and same else f"{done.stdout}{done.stderr} same: {same}"


def bytes_read(device: str) -> int:
    """How much was read of a device since it was made."""
    number = os.stat(device).st_rdev
    words = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat").read_text().split()
    return int(words[2]) * SECTOR


if __name__ == "__main__":
    main(Path(sys.argv[1]))

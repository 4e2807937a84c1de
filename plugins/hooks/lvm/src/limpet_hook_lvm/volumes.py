"""Logical volumes as LVM's own programs tell of them and change them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from limpet.errors import HookError

TAG = "limpet"
_FIELDS = "vg_name,lv_name,lv_attr,segtype,lv_health_status"
_STATE = 4
"""Which letter of `lv_attr` tells the state; I and S are those of a snapshot that ran full (`lvs(8)`)."""

RunProgram = Callable[..., str]
"""Takes the words of a command line; returns what the program prints, HookError if it fails."""


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """One volume by its name."""

    group: str
    name: str

    @property
    def full_name(self) -> str:
        """As LVM's programs take it."""
        return f"{self.group}/{self.name}"

    @property
    def device(self) -> str:
        """Where its content is."""
        return f"/dev/{self.group}/{self.name}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `lvs` says of one volume."""

    volume: LogicalVolume
    attributes: str
    segments: str
    health: str

    @property
    def is_thin(self) -> bool:
        """Whether its snapshots take what they need from its pool."""
        return self.segments == "thin"

    @property
    def ran_full(self) -> bool:
        """Whether it is a snapshot of fixed size that had no room for what was changed since: its content is gone."""
        return self.attributes[_STATE : _STATE + 1] in {"I", "S"}


class Volumes:
    """Asks and changes; HookError with LVM's own words where that fails."""

    def __init__(self, run_program: RunProgram) -> None:
        self._run = run_program

    def by_device(self, major: int, minor: int) -> Report | None:
        """The volume whose device this is; None if it is anything else."""
        if not _is_of_lvm(major, minor):
            return None
        found = self._reports("--select", f"lv_kernel_major={major} && lv_kernel_minor={minor}")
        return found[0] if found else None

    def by_name(self, volume: LogicalVolume) -> Report | None:
        """What there is by this name."""
        found = self._reports("--select", f"lv_name={volume.name}", volume.group)
        return found[0] if found else None

    def marked(self, group: str) -> Sequence[str]:
        """The names of all volumes of a group with our tag."""
        return [report.volume.name for report in self._reports("--select", f"lv_tags={TAG}", group)]

    def snapshot(self, origin: Report, name: str, size: str) -> None:
        """Make a snapshot: writes to the volume stop for a moment, and its file system is brought to a clean state."""
        fixed = ["--extents" if "%" in size else "--size", size]
        # A thin snapshot is not active, and so has no device, unless that is asked for.
        room = ["--setactivationskip", "n"] if origin.is_thin else fixed
        self._run(
            "lvcreate", "--snapshot", "--yes", "--quiet", "--name", name, "--addtag", TAG, *room,
            origin.volume.full_name,
        )  # fmt: skip

    def remove(self, volume: LogicalVolume) -> None:
        """Remove the volume, without questions."""
        self._run("lvremove", "--yes", "--quiet", volume.full_name)

    def _reports(self, *words: str) -> Sequence[Report]:
        printed = self._run("lvs", "--reportformat", "json", "--options", _FIELDS, *words)
        try:
            rows = [row for report in json.loads(printed)["report"] for row in report["lv"]]
            return [
                Report(
                    LogicalVolume(row["vg_name"], row["lv_name"].strip("[]")),
                    row["lv_attr"],
                    row["segtype"],
                    row["lv_health_status"],
                )
                for row in rows
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise HookError(f"lvs printed something that is not understood: {printed[:200]!r}") from error


def _is_of_lvm(major: int, minor: int) -> bool:
    """Whether the kernel knows it as a volume of LVM: no program need be asked about other devices."""
    try:
        return Path(f"/sys/dev/block/{major}:{minor}/dm/uuid").read_text().startswith("LVM-")
    except OSError:
        return False

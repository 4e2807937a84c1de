"""What a frozen copy of a folder lacks: the file systems that are mounted inside the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limpet.contracts.mounts import Mount, is_below, mounts, place_of
from limpet.progress import Reporter

SHOWN = 5
# fmt: off
_WITHOUT_FILES_TO_KEEP = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
    "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs", "securityfs", "selinuxfs",
    "sysfs", "tmpfs", "tracefs",
})
# fmt: on
"""File systems that the kernel makes up, or that are empty after the next start."""


def warn_of_mounts_inside(
    read_from: Mapping[str, str], targets: Sequence[str], reporter: Reporter, table: Sequence[Mount] | None = None
) -> None:
    """Warn of each target that is read from a frozen copy and has other file systems inside, unless they are targets.

    `read_from` is `SourceRequest.read_from` of paths. The copy has empty folders in their places. `table` is what is
    mounted, if not what the system says.
    """
    if not read_from:
        return
    table = mounts() if table is None else table
    named = {place_of(target) for target in targets}
    for target in read_from:
        place = place_of(target)
        inside = [
            mount.folder
            for mount in table
            if mount.folder not in named and _is_missing(mount, place) and not _is_copy(mount, read_from)
        ]
        if inside:
            more = f" and {len(inside) - SHOWN} more" if len(inside) > SHOWN else ""
            reporter.warning(
                f"{target} is read from a frozen copy, which lacks what is mounted inside:"
                f" {', '.join(inside[:SHOWN])}{more}; to have it in the snapshot too, name it beside {target}"
            )


def _is_missing(mount: Mount, place: str) -> bool:
    return mount.folder != place and is_below(mount.folder, place) and mount.kind not in _WITHOUT_FILES_TO_KEEP


def _is_copy(mount: Mount, read_from: Mapping[str, str]) -> bool:
    """Whether a frozen copy is mounted there: not the volume itself, which may hold its own copy."""
    return any(
        is_below(copy, mount.folder) and not is_below(place_of(target), mount.folder)
        for target, copy in read_from.items()
    )

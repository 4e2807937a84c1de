"""A stand-in for the program `zfs`: datasets are folders, snapshots copies of them. It takes what the hook may say.

There is no ZFS to be had for these tests: they show which command lines are run, in which order, and what becomes of
their failures, not that ZFS does what its manual says. usage: zfs_stand_in.py TABLE zfs-arguments...
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path


def fail(text: str) -> None:
    """End as zfs does."""
    sys.exit(text)


def make_trouble(file: Path, subcommand: str) -> None:
    """Fail or hang where the file says so, as `subcommand:words`."""
    wanted, _, words = file.read_text().partition(":") if file.exists() else ("", "", "")
    if subcommand == wanted:
        if words.strip() == "hang":
            time.sleep(1000)
        if words.startswith("once "):
            file.unlink()
        fail(words.removeprefix("once ").strip())


def main(table: Path, words: list[str]) -> None:
    """Do what the words say, to the folders that the table of mounts names."""
    here = table.parent
    with (here / "calls").open("a") as calls:
        print(*words, file=calls)
    make_trouble(here / "trouble", words[0])
    datasets = {}
    for line in table.read_text().splitlines():
        fields = line.split()
        if "zfs" in fields and fields[3] == "/":
            datasets[fields[-2]] = Path(fields[4])
    match words:
        case ["snapshot", full]:
            dataset, _, name = full.partition("@")
            place = datasets[dataset] / ".zfs/snapshot" / name
            if place.exists():
                fail(f"cannot create snapshot '{full}': dataset already exists")
            shutil.copytree(datasets[dataset], place, symlinks=True, ignore=shutil.ignore_patterns(".zfs"))
        case ["list", "-H", "-t", "snapshot", "-o", "name", "-d", "1", dataset]:
            if dataset not in datasets:
                fail(f"cannot open '{dataset}': dataset does not exist")
            for place in sorted((datasets[dataset] / ".zfs/snapshot").glob("*")):
                print(f"{dataset}@{place.name}")
        case ["destroy", full]:
            dataset, _, name = full.partition("@")
            if not name:
                fail("a whole dataset was to be destroyed")
            shutil.rmtree(datasets[dataset] / ".zfs/snapshot" / name)
        case _:
            fail(f"zfs is not known to be called like this: {words}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

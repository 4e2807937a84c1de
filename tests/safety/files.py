"""Seeded files to back up, and what is compared of them after a restore."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping
from pathlib import Path

MIB = 1024 * 1024
Digests = Mapping[str, str]


def write_tree(folder: Path, seed: int, *, small: int = 300, large_mib: int = 24) -> None:
    """Fill the folder: small files in subfolders, large ones beside them; other bytes for each seed."""
    source = random.Random(seed)
    for number in range(small):
        path = folder / f"folder-{number % 10}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(source.choice((0, 10, 3_000, 40_000))))
    size = 4 * MIB
    for number in range(large_mib * MIB // size):
        (folder / f"large-{number}").write_bytes(source.randbytes(size))


def digests(folder: Path) -> Digests:
    """SHA-256 of every file below the folder, by its relative path; folders are there with an empty one."""
    found = {}
    for inner, folders, names in os.walk(folder):
        for name in folders:
            found[os.path.relpath(os.path.join(inner, name), folder)] = ""
        for name in names:
            path = Path(inner, name)
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found

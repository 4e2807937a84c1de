"""The folder of all caches: restic's layout, its mark for other backup programs, and its clean-up."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

CACHEDIR_TAG = "CACHEDIR.TAG"
CACHEDIR_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55\n"
"""Tells backup programs to leave this folder out. Source: the Cache Directory Tagging Specification."""
CACHE_VERSION = 1
MAX_AGE_DAYS = 30

_CACHE_NAME = re.compile(r"[a-fA-F0-9]{64}|restic-check-cache-[0-9]+")


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The cache of one repository, as `limpet cache` lists it."""

    path: Path
    last_used_ns: int

    @property
    def name(self) -> str:
        """The repository's id."""
        return self.path.name

    def is_old(self, max_age_days: float = MAX_AGE_DAYS, now_ns: int | None = None) -> bool:
        """Whether it was not used for so long that `--cleanup-cache` removes it."""
        return (time.time_ns() if now_ns is None else now_ns) - self.last_used_ns > max_age_days * 86_400 * 10**9

    def size_bytes(self) -> int:
        """What its files hold together; those that vanish meanwhile count nothing."""
        total = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total


def list_caches(folder: Path) -> list[CacheInfo]:
    """The caches in the folder, by name; none if there is no such folder, or none that can be read."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # cleaned up by another process meanwhile
                    if _CACHE_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                        found.append(CacheInfo(Path(entry.path), entry.stat().st_mtime_ns))
    except OSError:
        return []
    return sorted(found, key=lambda cache: cache.name)


def remove_old_caches(folder: Path, max_age_days: float = MAX_AGE_DAYS) -> list[CacheInfo]:
    """Remove the caches that were not used for so long; those that were removed."""
    old = [cache for cache in list_caches(folder) if cache.is_old(max_age_days)]
    for cache in old:
        shutil.rmtree(cache.path, ignore_errors=True)
    return [cache for cache in old if not cache.path.exists()]


def prepare_cache(folder: Path, name: str) -> Path:
    """The folder of one repository's cache, made, marked and its time of use set; OSError if that cannot be."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), open(folder / CACHEDIR_TAG, "xb") as tag:
        tag.write(CACHEDIR_SIGNATURE)
    path = folder / name
    path.mkdir(mode=0o700, exist_ok=True)
    version = path / "version"
    if not version.exists():
        version.write_bytes(b"%d" % CACHE_VERSION)
    elif int(version.read_bytes() or b"0") > CACHE_VERSION:
        raise OSError(f"the cache {path} was made by a newer version; choose another folder with --cache-dir")
    os.utime(path)
    return path

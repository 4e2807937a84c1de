"""The data sets of the benchmarks, the same on the same machine: files of the system, chosen with a seed.

big    2 GiB of random bytes in four files
mixed  about 700 files of 128 KiB to 64 MiB, 1 GiB in all: programs, libraries, documents
small  80,000 files below 128 KiB in their folders, about 600 MB
few    20,000 files below 128 KiB in their folders, about 150 MB: over a network the round trips count
image  a sparse 1 GiB ext4 image that holds 20 MiB
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SOURCES = ("/usr/include", "/usr/share", "/usr/lib", "/usr/local", "/opt")
SMALL_FILES = 80_000
FEW_FILES = 20_000
MIXED_BYTES = GIB
IMAGE_BYTES = GIB
IMAGE_CONTENT_BYTES = 20 * MIB
BIG_FILES = (GIB, GIB // 2, GIB // 4, GIB // 4)
MKFS = ("mkfs.ext4", "-q", "-F", "-U", "00000000-0000-0000-0000-000000000001")

Found = tuple[str, int]


def build(root: Path, names: Iterable[str]) -> dict[str, Path]:
    """The folders of the named data sets below `root`; those that are there already are used as they are."""
    made = {}
    listing: list[Found] = []
    for name in names:
        folder = root / name
        done = root / f"{name}.done"
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            listing = listing or system_files()
            _BUILDERS[name](folder, listing)
            done.touch()
        made[name] = folder.resolve()
    return made


def system_files() -> list[Found]:
    """Path and size in bytes of the system's regular files, in order."""
    found = []
    for source in SOURCES:
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = f"{folder}/{name}"
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.append((path, status.st_size))
    return found


def _big(folder: Path, _listing: list[Found]) -> None:
    source = random.Random(1)
    for number, size in enumerate(BIG_FILES):
        with (folder / f"random{number}.bin").open("wb") as file:
            for _ in range(size // MIB):
                file.write(source.randbytes(MIB))


def _mixed(folder: Path, listing: list[Found]) -> None:
    _copy_until(folder, [one for one in listing if 128 * KIB <= one[1] <= 64 * MIB], seed=2, size_bytes=MIXED_BYTES)


def _small(folder: Path, listing: list[Found], files: int = SMALL_FILES) -> None:
    chosen = [one for one in listing if one[1] < 128 * KIB]
    copied = _copy_until(folder / "0", chosen, seed=3, files=files)
    # A small system has too few: the same again, with a line that makes each file another one.
    repeat = 1
    while copied < files and chosen:
        mark = f"copy {repeat}\n".encode()
        copied += _copy_until(folder / str(repeat), chosen, seed=3, files=files - copied, mark=mark)
        repeat += 1


def _few(folder: Path, listing: list[Found]) -> None:
    _small(folder, listing, FEW_FILES)


def _image(folder: Path, listing: list[Found]) -> None:
    content = folder / "content"
    _copy_until(content, [one for one in listing if one[1] < MIB], seed=4, size_bytes=IMAGE_CONTENT_BYTES)
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run([*MKFS, "-d", content, image], check=True)
    shutil.rmtree(content)


def _copy_until(
    folder: Path,
    files_found: list[Found],
    *,
    seed: int,
    size_bytes: int = 1 << 62,
    files: int = 1 << 62,
    mark: bytes = b"",
) -> int:
    """Copy files in random order, tree layout kept, until there are enough; how many were copied."""
    shuffled = list(files_found)
    random.Random(seed).shuffle(shuffled)
    copied = copied_bytes = 0
    for path, size in shuffled:
        if copied >= files or copied_bytes > size_bytes:
            break
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy2(path, target)
        except OSError:
            continue
        if mark:
            with target.open("ab") as file:
                file.write(mark)
        copied += 1
        copied_bytes += size
    return copied


_BUILDERS: dict[str, Callable[[Path, list[Found]], None]] = {
    "big": _big,
    "mixed": _mixed,
    "small": _small,
    "few": _few,
    "image": _image,
}

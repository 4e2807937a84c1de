"""File systems of all kinds in an image file, mounted through a loop device, and unmounted whatever happens."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.services.process import program, unavailable


@contextmanager
def loop_mount(folder: Path, kind: str, size_mib: int, *, options: Sequence[str] = ()) -> Iterator[Path]:
    """The folder `folder/mounted`, a new file system of this kind; the test ends where that cannot be had."""
    if os.geteuid() != 0:
        unavailable("mounting a file system needs root")
    make = program(f"mkfs.{kind}")
    image, place = folder / f"{kind}.image", folder / "mounted"
    place.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    subprocess.run([make, "-q", image], check=True, capture_output=True)
    command: list[str | Path] = ["mount", "-o", ",".join(["loop", *options]), image, place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        unavailable(f"{kind} cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", place], check=True)
        image.unlink()

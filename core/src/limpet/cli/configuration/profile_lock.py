"""A profile runs once at a time: a lock that the system takes away with the last process that holds it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from limpet.cli.exits import CommandExit
from limpet.errors import UsageError

EXIT_RUNNING = 75
"""EX_TEMPFAIL of sysexits.h: the profile is running already, nothing was done."""


def lock_file(configuration: Path, profile: str) -> Path:
    """The lock of one profile of one configuration, in the user's state folder."""
    import platformdirs  # noqa: PLC0415  # for few commands

    digest = hashlib.sha256(os.fsencode(configuration.resolve())).hexdigest()[:12]
    folder = Path(platformdirs.user_state_dir("limpet", appauthor=False))
    return folder / "running" / f"{profile}-{digest}.lock"


@contextmanager
def profile_lock(configuration: Path, profile: str) -> Iterator[int]:
    """Inside it nobody else runs the profile; CommandExit with EXIT_RUNNING where somebody does.

    Gives the descriptor that holds the lock. Children that inherit it hold it, too: where this process is killed and
    its command goes on, the profile still runs. The file stays; it is the lock on it that counts.
    """
    import fcntl  # noqa: PLC0415  # not everywhere

    file = lock_file(configuration, profile)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"cannot write the lock of the profile, {file}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandExit(
                EXIT_RUNNING, f"the profile {profile!r} is running already{_holder(descriptor)}; nothing was done"
            ) from error
        since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, since {since}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
    return f" ({text})" if text else ""

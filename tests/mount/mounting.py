"""A repository and the mounts made of it, as processes of their own: started, waited for, looked at and ended.

`LIMPET_MOUNT_JUDGE=/path/to/restic` has the same tests judge restic's mount: to see that they are right.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.safety.program import PASSWORD, Ended, Running, Site
from tests.services.process import program

JUDGED = os.environ.get("LIMPET_MOUNT_JUDGE", "")
END_LIMIT_S = 20.0
"""Ending is to take 3 s; a machine may be busy with other tests."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A running mount, and where it is."""

    point: Path
    running: Running

    def end(self, number: signal.Signals = signal.SIGINT) -> Ended:
        """How it ended after the signal, and what it said; AssertionError if anything of it is left."""
        self.running.signal_parent(number)
        return self.gone()

    def unmount(self, *flags: str) -> Ended:
        """The same after `umount`."""
        subprocess.run([program("umount"), *flags, self.point], check=True, capture_output=True)
        return self.gone()

    def gone(self) -> Ended:
        """How it ended; AssertionError if it does not, or anything of it is left."""
        ended = self.running.end(END_LIMIT_S)
        self.running.assert_none_survives()
        assert not is_mounted(self.point)
        return ended


class Mounts:
    """The mounts of one repository; those that a test leaves are ended by `close`, whatever state they are in."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self._folder = folder
        self._made: list[Mounted] = []

    def start(self, *flags: str | Path, binary: str | Path = JUDGED, prefix: Sequence[str] = ()) -> Mounted:
        """A mount at a new folder, ready to be looked into; of restic if that is the binary."""
        require_fuse()
        point = self._folder / f"mounted-{len(self._made)}"
        point.mkdir()
        return self.start_at(point, *flags, binary=binary, prefix=prefix)

    def start_at(
        self, point: Path, *flags: str | Path, binary: str | Path = JUDGED, prefix: Sequence[str] = ()
    ) -> Mounted:
        """The same at this folder."""
        words = [str(binary)] if binary else [sys.executable, "-m", "limpet.cli.main"]
        running = self.site.start_program([*prefix, *words, "mount", *flags, point])
        mounted = Mounted(point, running)
        self._made.append(mounted)
        running.wait_until(lambda: is_mounted(point), "it was mounted")
        return mounted

    @contextmanager
    def mounted(self, *flags: str | Path, binary: str | Path = JUDGED) -> Iterator[Path]:
        """The mount's folder; it is ended, in good order, with the context."""
        mount = self.start(*flags, binary=binary)
        yield mount.point
        ended = mount.end()
        assert ended.code == 0, ended.err

    def refused(self, point: Path, *flags: str | Path) -> str:
        """The last line of a mount that does not come to be: it ends with 1 and mounts nothing."""
        require_fuse()
        words = [JUDGED] if JUDGED else [sys.executable, "-m", "limpet.cli.main"]
        running = self.site.start_program([*words, "mount", *flags, point])
        ended = running.end()
        assert ended.code == 1, ended.err
        assert "Traceback" not in ended.err
        assert not is_mounted(point)
        return ended.last_line

    def close(self) -> None:
        """End what is left. Idempotent."""
        for mount in self._made:
            if is_mounted(mount.point):
                subprocess.run(["umount", "--lazy", mount.point], check=False, capture_output=True)
            mount.running.close()
        self.site.close()


def make_site(folder: Path) -> Site:
    """A new repository; the commands of both programs find it in their environment."""
    folder.mkdir(parents=True, exist_ok=True)
    site = Site(folder)
    site.create()
    point_at(site, str(site.repository))
    return site


def point_at(site: Site, location: str) -> None:
    """The commands of both programs go there from now on."""
    site.variables.update(
        LIMPET_REPOSITORY=location,
        RESTIC_REPOSITORY=location,
        RESTIC_PASSWORD=PASSWORD,
        RESTIC_CACHE_DIR=str(site.folder / "restic-cache"),
    )


def require_fuse() -> None:
    """The test ends where nothing can be mounted."""
    if not os.path.exists("/dev/fuse"):
        # A kernel is nothing that `make test` could install.
        pytest.skip("no /dev/fuse: the kernel has no FUSE, or this container may not use it")
    if os.geteuid() != 0:
        program("fusermount3")


def is_mounted(point: Path) -> bool:
    """Whether something is mounted there; found without a request to the file system, which may hang."""
    shown = re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", str(point.absolute()))
    return any(line.split()[4] == shown for line in Path("/proc/self/mountinfo").read_text().splitlines())


def forget_names() -> None:
    """Have the kernel forget the names and inodes that are not in use, so that it asks for them again. For root."""
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("2")


def wait_for(mount: Mounted, path: Path, limit_s: float = 60.0) -> None:
    """Return when the path is there; AssertionError if it never is."""
    deadline = time.monotonic() + limit_s
    while not os.path.lexists(path):
        assert mount.running.process.poll() is None
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.1)

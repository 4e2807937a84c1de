"""`Freezer`: keeps file systems from being written to while their devices are read.

A tiny process of its own freezes a file system and thaws it again: when told, when we die, or when it takes too long.
Should that one be killed, we thaw ourselves.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from limpet.errors import SourceError, UsageError

from limpet_source_device.guard import thaw
from limpet_source_device.usage import Mount
from limpet_source_device.volume import number_of

_GUARD = Path(__file__).with_name("guard.py")
_STANDARD_OUTPUTS = (1, 2)
_FIRST_WORD_S = 30.0
"""Added to the limit: the first word comes when all that was written is on the device."""


class Freezer:
    """The frozen file systems of one backup. What several devices have in common is frozen once."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._held: dict[str, tuple[_FrozenMount, int]] = {}
        self._lock = threading.Lock()

    def freeze(self, mounts: Sequence[Mount]) -> Freeze:
        """All of them frozen until the result is released; SourceError if one cannot be."""
        taken = Freeze(self)
        try:
            for mount in mounts:
                taken.mounts.append(self._hold(mount))
        except BaseException:
            taken.release()
            raise
        return taken

    def _hold(self, mount: Mount) -> _FrozenMount:
        with self._lock:
            frozen, users = self._held.get(mount.number, (None, 0))
            if frozen is None:
                frozen = _FrozenMount(mount, self._limit_s)
            self._held[mount.number] = (frozen, users + 1)
            return frozen

    def let_go(self, frozen: _FrozenMount) -> None:
        """One user less; thawed when there is none left."""
        with self._lock:
            number = frozen.mount.number
            held, users = self._held.pop(number)
            if users > 1:
                self._held[number] = (held, users - 1)
            else:
                frozen.thaw()


class Freeze:
    """File systems that are frozen until `release`."""

    def __init__(self, freezer: Freezer) -> None:
        self._freezer = freezer
        self.mounts: list[_FrozenMount] = []
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why what was read since is worth nothing, if it is so: something was thawed before its time."""
        return self._problem or next((mount.problem for mount in self.mounts if mount.problem), None)

    def release(self) -> None:
        """Let writes go on where nobody else needs it quiet. Idempotent."""
        while self.mounts:
            frozen = self.mounts.pop()
            self._freezer.let_go(frozen)
            self._problem = self._problem or frozen.problem


class _FrozenMount:
    """A file system from being frozen until `thaw`. SourceError if it cannot be."""

    def __init__(self, mount: Mount, limit_s: float) -> None:
        self.mount = mount
        self._limit_s = limit_s
        self._ending: str | None = None
        self._heard = threading.Condition()
        self._words: list[str] = []
        self._fd = _open_mount(mount)
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARD), str(limit_s), mount.point],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is not meant for it
                bufsize=0,
            )
        except OSError as error:
            os.close(self._fd)
            raise SourceError(f"{mount.point}: cannot be frozen: {error}") from error
        self._listener = threading.Thread(target=self._listen, name="limpet-freeze", daemon=True)
        self._listener.start()
        try:
            self._await_first_word()
        except BaseException:
            self.thaw()
            raise

    @property
    def problem(self) -> str | None:
        """Why it is not frozen any more though it should be."""
        if self._ending in {None, "thawed"}:
            return None
        reasons = {
            "expired": f"was frozen for {self._limit_s:g} s and had to be thawed before all was read; back up a "
            "snapshot of the device instead (hooks lvm, zfs), or give it more time with -o device.freeze_limit=",
            "meddled": "was thawed by somebody else before all was read",
        }
        stopped = "was thawed before all was read: the process that kept it frozen was ended"
        return f"{self.mount.point}: {reasons.get(self._ending or '', stopped)}"

    def thaw(self) -> None:
        """Let writes go on."""
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
        self._listener.join()
        self._guard.wait()
        os.close(self._fd)

    def _await_first_word(self) -> None:
        with self._heard:
            self._heard.wait_for(lambda: self._words, self._limit_s + _FIRST_WORD_S)
            first = self._words[0] if self._words else "error it does not get quiet"
        if first != "frozen":
            reason = first.removeprefix("error ")
            raise SourceError(f"{self.mount.point}: cannot be frozen: {reason}{_way_out(reason)}")

    def _listen(self) -> None:
        """Take down what the guard says; once it is gone nothing stays frozen."""
        assert self._guard.stdout is not None
        with self._guard.stdout as pipe:
            rest = b""
            while data := pipe.read(1 << 12):
                *lines, rest = (rest + data).split(b"\n")
                self._hear([line.decode(errors="replace") for line in lines])
        with self._heard:
            words = list(self._words)
        if words == ["frozen"]:
            thaw(self._fd)
            self._hear(["stopped"])
        elif not words:
            self._hear(["error the process that freezes ended"])

    def _hear(self, words: Sequence[str]) -> None:
        with self._heard:
            self._words += words
            if len(self._words) > 1:
                self._ending = self._words[1]
            self._heard.notify_all()


def refuse_own_places(mounts: Sequence[Mount], own_places: Sequence[str]) -> None:
    """UsageError where the run itself writes to one of the file systems: it would wait for itself."""
    for mount in mounts:
        try:
            device = os.stat(mount.point).st_dev
        except OSError:
            continue
        for place in (*own_places, tempfile.gettempdir()):
            if _device_of(place) == device:
                raise UsageError(
                    f"{mount.point} cannot be frozen: {place} is on it, which this backup itself writes to; "
                    "back up a snapshot of the device instead (hooks lvm, zfs), or move what is there elsewhere"
                )
        for number in _STANDARD_OUTPUTS:
            if _device_of_descriptor(number) == device:
                raise UsageError(f"{mount.point} cannot be frozen: the output of this backup is written to it")


def _device_of(place: str) -> int | None:
    """The file system of a path, or where it would be made."""
    path = os.path.realpath(place)
    while True:
        try:
            return os.stat(path).st_dev
        except OSError:
            above = os.path.dirname(path)
            if above == path:
                return None
            path = above


def _device_of_descriptor(number: int) -> int | None:
    try:
        return os.fstat(number).st_dev
    except OSError:
        return None


def _open_mount(mount: Mount) -> int:
    """A descriptor in the file system; SourceError where something else is mounted over it."""
    try:
        fd = os.open(mount.point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"{mount.point}: cannot be frozen: {error.strerror}") from error
    found = number_of(os.fstat(fd).st_dev)
    if found != mount.number and not found.startswith("0:"):
        os.close(fd)
        raise SourceError(f"{mount.point}: cannot be frozen: another file system is mounted over it")
    return fd


def _way_out(reason: str) -> str:
    if "busy" in reason:
        return " (somebody has frozen it already; `fsfreeze --unfreeze` ends that)"
    return " (only root may)" if "permitted" in reason else ""

"""Mounts the file system, serves it until somebody ends it, and takes the mount away again."""

from __future__ import annotations

import gc
import os
import select
import signal
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType

import pyfuse3
import trio
from limpet.errors import LimpetError
from limpet.format import native

from limpet_command_mount.ending import Ending
from limpet_command_mount.filesystem import Filesystem

FUSE_DEVICE = "/dev/fuse"
TASKS = 128
"""Requests that can wait at once."""


@dataclass(frozen=True, slots=True)
class MountOptions:
    """How the kernel mounts it."""

    name: str
    """Shown as the device."""
    allow_other: bool = False
    default_permissions: bool = False

    def words(self) -> set[str]:
        """As libfuse takes them."""
        words = {"ro", f"fsname={self.name}", "subtype=limpet"}
        if self.allow_other:
            words.add("allow_other")
        if self.default_permissions:
            words.add("default_permissions")
        return words


def serve(
    filesystem: Filesystem,
    mountpoint: str,
    options: MountOptions,
    *,
    ready: Callable[[], object],
    interrupt: Callable[[int], object],
    ending: Ending,
) -> None:
    """Serve until the mount is taken away or SIGINT or SIGTERM comes; the mount is gone then.

    `ready` is called when it can be used, `interrupt` with the signal, to end all that waits for the storage.
    LimpetError where it cannot be mounted.
    """
    native.keep_freed_memory()  # blobs come and go: new pages for each would take half as long as opening it
    gc.freeze()
    known = _fuse_descriptors()
    told = _Told(interrupt)
    with told.listening():
        _mount(filesystem, mountpoint, options)
        try:
            ready()
            trio.run(_serve, filesystem, _fuse_descriptors() - known, told, ending)
        finally:
            pyfuse3.close(unmount=True)
            filesystem.threads.close(ending.stage_s())


def _mount(filesystem: Filesystem, mountpoint: str, options: MountOptions) -> None:
    if not os.path.exists(FUSE_DEVICE):
        raise LimpetError(
            f"FUSE is not available: there is no {FUSE_DEVICE}; load the kernel's module `fuse`,"
            " or use `limpet webdav`, which needs none"
        )
    try:
        with _libfuse_says() as said:
            pyfuse3.init(filesystem, mountpoint, options.words())
    except RuntimeError as error:
        reason = " ".join(said) or str(error)
        raise LimpetError(f"cannot mount at {mountpoint}: {reason}; `limpet webdav` needs no FUSE") from error


class _Told:
    """SIGINT and SIGTERM from before the mount is made until it is gone: each ends it in good order."""

    def __init__(self, interrupt: Callable[[int], object]) -> None:
        self._interrupt = interrupt
        self._came: list[int] = []
        self._event = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over both signals; outside of the main thread there are none."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    async def wait(self) -> None:
        """Return when a signal has come."""
        self._token = trio.lowlevel.current_trio_token()
        if not self._came:
            await self._event.wait()
        self._interrupt(self._came[0])

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._event.set)


async def _serve(filesystem: Filesystem, descriptors: set[int], told: _Told, ending: Ending) -> None:
    async with trio.open_nursery() as serving:
        serving.start_soon(partial(pyfuse3.main, max_tasks=TASKS))
        filesystem.pages.start()
        async with trio.open_nursery() as until:
            until.start_soon(_first, told.wait, until.cancel_scope)
            until.start_soon(_first, partial(_wait_until_unmounted, descriptors), until.cancel_scope)
        with trio.move_on_after(ending.grace_s()):
            await filesystem.threads.wait_until_idle()
        # Now that nothing waits for the storage any more, each request is answered at once until the last stage.
        filesystem.threads.abandon()
        with trio.move_on_after(ending.stage_s()):
            await filesystem.pages.close()
        pyfuse3.terminate()
        serving.cancel_scope.deadline = trio.current_time() + ending.stage_s()


async def _first(wait: Callable[[], Awaitable[object]], others: trio.CancelScope) -> None:
    await wait()
    others.cancel()


async def _wait_until_unmounted(descriptors: set[int]) -> None:
    """Return when the connection to the kernel has ended: after a lazy unmount, when the last user is through."""
    with select.epoll() as end:
        for descriptor in descriptors:
            end.register(descriptor, 0)  # the connection's end is told unasked
        await trio.lowlevel.wait_readable(end.fileno())


def _fuse_descriptors() -> set[int]:
    """The descriptors of connections to the kernel; pyfuse3 does not tell its own."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == FUSE_DEVICE:
                found.add(int(name))
    return found


@contextmanager
def _libfuse_says() -> Iterator[list[str]]:
    """The lines that libfuse writes to standard error in the context: it has no other way to tell why."""
    lines: list[str] = []
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines()

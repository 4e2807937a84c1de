"""Mounts the file system, serves it until somebody ends it, and takes the mount away again."""

from __future__ import annotations

import gc
import os
import select
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pyfuse3
import trio
from limpet.errors import LimpetError
from limpet.format import native

from limpet_command_mount.filesystem import Filesystem

FUSE_DEVICE = "/dev/fuse"
TASKS = 128
"""Requests that can wait at once."""
GRACE_S = 0.5
"""For answers under way when the mount ends, and for threads after that."""
POLL_S = 0.5
"""Between two looks whether the kernel still waits for what we wait for."""


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
) -> None:
    """Serve until the mount is taken away or SIGINT or SIGTERM comes; the mount is gone then.

    `ready` is called when it can be used, `interrupt` with the signal, to end all that waits for the storage.
    LimpetError where it cannot be mounted.
    """
    native.keep_freed_memory()  # blobs come and go: new pages for each would take half as long as opening it
    gc.freeze()
    known = _fuse_descriptors()
    _mount(filesystem, mountpoint, options)
    try:
        ready()
        filesystem.pages.start()
        trio.run(_serve, filesystem, _fuse_descriptors() - known, interrupt)
    finally:
        filesystem.pages.close(GRACE_S)
        pyfuse3.close(unmount=True)
        filesystem.threads.close(GRACE_S)


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


async def _serve(filesystem: Filesystem, descriptors: set[int], interrupt: Callable[[int], object]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(_end_on_signal, nursery.cancel_scope, interrupt)
        nursery.start_soon(_end_with_mount, filesystem, descriptors, nursery.cancel_scope)
        await pyfuse3.main(max_tasks=TASKS)
        nursery.cancel_scope.cancel()


async def _end_on_signal(
    scope: trio.CancelScope,
    interrupt: Callable[[int], object],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            interrupt(number)
            pyfuse3.terminate()
            await trio.sleep(GRACE_S)
            scope.cancel()


async def _end_with_mount(filesystem: Filesystem, descriptors: set[int], scope: trio.CancelScope) -> None:
    """Give up what waits for the storage once the mount is gone: nobody asks for it any more."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, 0)  # the connection's end is told unasked
    while True:
        await filesystem.threads.wait_until_busy()
        await trio.sleep(POLL_S)
        if poll.poll(0):
            await trio.sleep(GRACE_S)
            scope.cancel()


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

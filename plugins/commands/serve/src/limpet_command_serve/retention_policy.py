"""Refuses removals of what is too young, and deletes for good what was removed long enough ago."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from limpet_command_serve.aside import aside
from limpet_command_serve.exchange import Exchange, Refusal
from limpet_command_serve.policy import Policy
from limpet_command_serve.quota import Usage
from limpet_command_serve.removed import Kept, kept_too_long
from limpet_command_serve.retention import RetentionDays, RetentionError, RetentionLock
from limpet_command_serve.store import FileStatus

PURGE_EVERY_S = 3600.0


class RetentionPolicy(Policy):
    """The lock, asked before every removal. `root` is None where removed files are not ours to keep."""

    def __init__(
        self, days: RetentionDays, root: Path | None, usage: Usage | None, tell: Callable[[str], None]
    ) -> None:
        self._days = days
        self._root = root
        self._usage = usage
        self._tell = tell
        self._purging: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._root is not None:
            self._purging = asyncio.create_task(self._purge_for_ever(self._root))

    async def close(self) -> None:
        if self._purging is not None:
            self._purging.cancel()

    def removing(self, exchange: Exchange, status: FileStatus) -> None:
        target = exchange.target
        if target is None or target.kind is None:
            return
        try:
            RetentionLock(self._days.of(exchange.user)).check(target.kind, status.stored_s, time.time())
        except RetentionError as error:
            raise Refusal(403, str(error)) from error

    async def _purge_for_ever(self, root: Path) -> None:
        while True:
            await aside(lambda: self._purge(root))
            await asyncio.sleep(PURGE_EVERY_S)

    def _purge(self, root: Path) -> None:
        try:
            for kept in kept_too_long(root, time.time()):
                with nullcontext() if self._usage is None else self._usage.changing():
                    self._delete(kept)
        except OSError as error:
            self._tell(f"cannot delete removed files for good: {error}")

    def _delete(self, kept: Kept) -> None:
        before_bytes = freed_bytes = kept.size_bytes()
        try:
            kept.delete()
        except OSError:
            freed_bytes -= kept.size_bytes()
            raise
        finally:
            if self._usage is not None:
                self._usage.add(kept.folders, -freed_bytes)
        place = "/".join(kept.folders) or "/"
        self._tell(f"what was removed from {place} and kept until {kept.until} is gone for good: {before_bytes} bytes")

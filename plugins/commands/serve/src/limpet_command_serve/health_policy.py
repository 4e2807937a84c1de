"""`GET /healthz`: whether the server can store backups now. Everybody may ask; nothing is told but that."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping

from limpet_command_serve.aside import aside
from limpet_command_serve.exchange import Answer, Exchange
from limpet_command_serve.policy import Page, Policy

PATH = "/healthz"
FRESH_S = 1.0
"""So long an answer counts: whoever asks often does not make the disk busy."""
TIMEOUT_S = 5.0
"""A disk that takes longer is not there."""

Check = Callable[[], str]
"""Why storage cannot be written, empty where it can. Blocks; runs in a thread."""


class HealthPolicy(Policy):
    """Asks the storage at most once a second, and never waits for it for ever."""

    open_pages = frozenset({PATH})

    def __init__(self, check: Check) -> None:
        self._check = check
        self._running: asyncio.Future[str] | None = None
        self._problem = ""
        self._fresh_until = 0.0

    def pages(self) -> Mapping[str, Page]:
        return {PATH: self._page}

    async def _page(self, exchange: Exchange) -> Answer:
        problem = await self._storage_problem()
        document = {"status": "unavailable", "reason": problem} if problem else {"status": "ok"}
        headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
        return Answer(503 if problem else 200, json.dumps(document).encode() + b"\n", headers)

    async def _storage_problem(self) -> str:
        if time.monotonic() < self._fresh_until:
            return self._problem
        if self._running is None:
            self._running = asyncio.ensure_future(aside(self._check))
            self._running.add_done_callback(self._keep)
        try:
            return await asyncio.wait_for(asyncio.shield(self._running), TIMEOUT_S)
        except TimeoutError:
            return "the storage does not answer"

    def _keep(self, done: asyncio.Future[str]) -> None:
        self._running = None
        self._problem = "the storage cannot be looked at" if done.cancelled() or done.exception() else done.result()
        self._fresh_until = time.monotonic() + FRESH_S


def folder_problem(path: str) -> str:
    """Why nothing can be stored in the folder; empty where it can."""
    try:
        status = os.statvfs(path)
    except OSError as error:
        return f"the data directory cannot be used: {error.strerror}"
    if status.f_flag & os.ST_RDONLY:
        return "the storage is read-only"
    if not os.access(path, os.W_OK | os.X_OK):
        return "the data directory cannot be written"
    if not status.f_bavail:
        return "the storage is full"
    return ""

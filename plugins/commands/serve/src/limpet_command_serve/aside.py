"""Work beside the event loop that may take for ever: a disk that hangs must not keep the server from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

R = TypeVar("R")


async def aside(work: Callable[[], R]) -> R:
    """The result of the work, done in a thread of its own that nobody waits for when the process ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def end(result: R | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # it is one where there is no error

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # it belongs to who waits
            failure = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(end, result, failure)

    threading.Thread(target=run, name="limpet-serve-aside", daemon=True).start()
    return await future

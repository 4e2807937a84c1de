"""The points at which others are asked about a request: who may do what, how much, how fast, and who is told.

A server has a row of policies; each point asks them in their order, and the first `Refusal` ends the request. Every
method lets everything pass unless it is overridden. `async` methods and `answered`, `reload` run on the event loop and
must not block it; the others run in a worker thread, many at once, and may block.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from limpet_command_serve.exchange import Answer, Exchange

if TYPE_CHECKING:
    from limpet_command_serve.store import FileStatus

Page = Callable[[Exchange], Awaitable[Answer]]


class UploadGuard(AbstractContextManager[object], Protocol):
    """Follows one upload; left (`__exit__`) when the upload has ended, however that was."""

    def count(self, size_bytes: int) -> None:
        """So many bytes more have come and are about to be written. Refusal ends the upload without a trace."""

    def keep(self, size_bytes: int) -> None:
        """The file of that size is stored and visible."""


class RemovalGuard(AbstractContextManager[object], Protocol):
    """Follows one removal; left (`__exit__`) when it has ended, however that was."""

    def freed(self, size_bytes: int) -> None:
        """The file is gone, and so much room came back."""


class Policy:
    """One rule of the server, or one who watches it."""

    download_piece_bytes: int | None = None
    """At most so many bytes go between two calls of `downloading`; None where it need not be called."""
    upload_piece_bytes: int | None = None
    """At most so many bytes come between two calls of `uploaded`; None where it need not be called."""

    def pages(self) -> Mapping[str, Page]:
        """Pages of the server by their whole path (`/metrics`); they hide repositories of the same path.

        Asked once, when the server starts. `admit` is asked for pages too (their `target` may be anything), unless the
        path is in `open_pages`.
        """
        return {}

    open_pages: frozenset[str] = frozenset()
    """Those of `pages` that everybody may see."""

    async def admit(self, exchange: Exchange) -> None:
        """The head of a request has come and no more. Says who it is (`exchange.user`), or raises Refusal."""

    def begin_upload(self, exchange: Exchange, size_bytes: int | None) -> UploadGuard | None:
        """Before any byte of the body is accepted: a guard who follows it, or Refusal. Size as the client says it."""
        return None

    async def uploaded(self, exchange: Exchange, size_bytes: int) -> None:
        """So many bytes have come; waiting here slows the sender down."""

    async def downloading(self, exchange: Exchange, size_bytes: int) -> None:
        """So many bytes are about to go out; waiting here slows the answer down."""

    def removing(self, exchange: Exchange, status: FileStatus) -> RemovalGuard | None:
        """Before a file is removed that is there: a guard who follows that, or Refusal where it has to stay."""
        return None

    def answered(self, exchange: Exchange) -> None:
        """The exchange is over: everything in it is known, also where it was refused or broken off."""

    def reload(self) -> None:
        """SIGHUP: read again what may have changed, open logs again."""

    async def start(self) -> None:
        """The server is about to listen."""

    async def close(self) -> None:
        """The server has ended. Also without `start`."""

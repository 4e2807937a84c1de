"""Counts what is done, and shows it at `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping

from limpet.contracts.backend import FileKind

from limpet_command_serve.exchange import Answer, Exchange
from limpet_command_serve.metrics import CONTENT_TYPE, BlobOperation, Metrics
from limpet_command_serve.policy import Page, Policy
from limpet_command_serve.rights import Action
from limpet_command_serve.rights_policy import METRICS_PATH

_REFUSALS = frozenset({401, 403, 429, 507})


class MetricsPolicy(Policy):
    """As rest-server counts: files with an id, when they were stored, removed or sent."""

    def __init__(self, metrics: Metrics, *, is_open: bool) -> None:
        self._metrics = metrics
        if is_open:
            self.open_pages = frozenset({METRICS_PATH})

    def pages(self) -> Mapping[str, Page]:
        return {METRICS_PATH: self._page}

    def answered(self, exchange: Exchange) -> None:
        if exchange.status in _REFUSALS:
            self._metrics.refused(exchange.status)
        target = exchange.target
        if target is None or target.kind is None or target.kind is FileKind.CONFIG or not target.name:
            return
        for operation, size_bytes in (
            (BlobOperation.WRITE, exchange.stored_bytes),
            (BlobOperation.DELETE, exchange.removed_bytes),
            (BlobOperation.READ, exchange.sent_bytes if _is_read(exchange) else None),
        ):
            if size_bytes is not None:
                self._metrics.count(operation, exchange.user, target.folders, target.kind.value, size_bytes)

    async def _page(self, exchange: Exchange) -> Answer:
        return Answer(200, self._metrics.encode(), (("Content-Type", CONTENT_TYPE),))


def _is_read(exchange: Exchange) -> bool:
    return exchange.action is Action.READ and exchange.status in {200, 206}

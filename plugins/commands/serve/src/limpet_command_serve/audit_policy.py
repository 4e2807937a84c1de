"""Has one line written to the audit log for each request."""

from __future__ import annotations

from limpet_command_serve.audit import AuditEntry, AuditLog
from limpet_command_serve.exchange import Exchange
from limpet_command_serve.names import Shape
from limpet_command_serve.policy import Policy

MOST_PATH = 1000
"""Characters of a path that names nothing: nobody fills the disk, or the lines that wait for it, without a login."""


class AuditPolicy(Policy):
    """Told of every exchange, the refused and the broken ones too."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def answered(self, exchange: Exchange) -> None:
        self._log.add(_entry(exchange))

    def reload(self) -> None:
        self._log.reopen()

    async def close(self) -> None:
        self._log.close()


def _entry(exchange: Exchange) -> AuditEntry:
    target = exchange.target
    kind = "" if target is None else target.kind.value if target.kind is not None else Shape.REPOSITORY.value
    return AuditEntry(
        time_s=exchange.began_s,
        user=exchange.user,
        client=exchange.client,
        repository="" if target is None else target.repository,
        method=exchange.method,
        kind=kind,
        name="" if target is None else target.name,
        status=exchange.status,
        received_bytes=exchange.received_bytes,
        sent_bytes=exchange.sent_bytes,
        duration_s=exchange.duration_s,
        reason=exchange.reason,
        path=exchange.path[:MOST_PATH] if target is None else "",
    )

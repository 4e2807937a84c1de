"""Runs verify beside the server."""

from __future__ import annotations

from collections.abc import Iterable

from limpet_command_serve.metrics import Family, gauge
from limpet_command_serve.policy import Policy
from limpet_command_serve.verify import Verifier


class VerifyPolicy(Policy):
    """Starts and ends it with the server."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def start(self) -> None:
        self._verifier.start()

    async def close(self) -> None:
        self._verifier.stop()

    def families(self) -> Iterable[Family]:
        """What it found, for the metrics."""
        report = self._verifier.report
        yield gauge("limpet_serve_verify_damaged_files", "Stored files known to be damaged", len(report.damaged))
        yield gauge("limpet_serve_verify_round_files", "Files looked at in the current round", report.current.files)
        yield gauge("limpet_serve_verify_round_bytes", "Bytes looked at in the current round", report.current.bytes)
        if report.last is not None and report.last.ended_s is not None:
            ended_s = report.last.ended_s
            yield gauge("limpet_serve_verify_last_end_time_seconds", "When all files had been looked at", ended_s)

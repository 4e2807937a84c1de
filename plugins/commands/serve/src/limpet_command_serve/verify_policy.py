"""Runs verify beside the server."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from limpet_command_serve.exchange import Exchange
from limpet_command_serve.metrics import Family, gauge
from limpet_command_serve.names import Folders
from limpet_command_serve.policy import Policy, UploadGuard
from limpet_command_serve.verify import Verifier


class VerifyPolicy(Policy):
    """Starts and ends it with the server. `note` is told of each repository in which something was stored."""

    def __init__(self, verifier: Verifier, note: Callable[[Folders], None] | None = None) -> None:
        self._verifier = verifier
        self._note = note

    async def start(self) -> None:
        self._verifier.start()

    async def close(self) -> None:
        self._verifier.stop()

    def begin_upload(self, exchange: Exchange, size_bytes: int | None) -> UploadGuard | None:
        if self._note is None or exchange.target is None:
            return None
        return _Noting(self._note, exchange.target.folders)

    def families(self) -> Iterable[Family]:
        """What it found, for the metrics."""
        report = self._verifier.report
        yield gauge("limpet_serve_verify_damaged_files", "Stored files known to be damaged", len(report.damaged))
        yield gauge("limpet_serve_verify_round_files", "Files looked at in the current round", report.current.files)
        yield gauge("limpet_serve_verify_round_bytes", "Bytes looked at in the current round", report.current.bytes)
        if report.last is not None and report.last.ended_s is not None:
            ended_s = report.last.ended_s
            yield gauge("limpet_serve_verify_last_end_time_seconds", "When all files had been looked at", ended_s)


class _Noting:
    """Waits for an upload to be stored."""

    def __init__(self, note: Callable[[Folders], None], folders: Folders) -> None:
        self._note = note
        self._folders = folders

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def count(self, size_bytes: int) -> None:
        return

    def keep(self, size_bytes: int) -> None:
        self._note(self._folders)

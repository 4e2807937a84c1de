"""The file that node_exporter's textfile collector reads: replaced as a whole, one for each series of runs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path

from limpet.contracts.hooks import RunInfo, RunResult
from limpet.errors import HookError

from limpet_hook_prometheus.exposition import decode_metrics, encode_metrics
from limpet_hook_prometheus.metrics import Metric, is_own, run_labels, run_metrics

SUFFIX = ".prom"
MODE = 0o644
"""The collector runs as another user."""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]+")


def write_textfile(folder: Path, run: RunInfo, result: RunResult) -> None:
    """Write the run's metrics into the file that its series has in the folder.

    What is in the file stays where the run has nothing newer: a failed run keeps the time of the last success.
    HookError where it cannot be written, or where what was in it cannot be understood and is lost.
    """
    path = folder / file_name(run)
    damage = None
    try:
        kept = _kept(path, run)
    except (OSError, ValueError) as error:
        kept, damage = [], error
    metrics = run_metrics(run, result)
    new = {metric.name for metric in metrics}
    try:
        _replace(path, encode_metrics([*metrics, *(old for old in kept if old.name not in new)], run_labels(run)))
    except OSError as error:
        raise HookError(f"cannot write {path}: {error.strerror}") from error
    if damage is not None:
        reason = damage.strerror if isinstance(damage, OSError) else str(damage)
        raise HookError(f"{path} is written anew: what was in it could not be read ({reason})") from damage


def file_name(run: RunInfo) -> str:
    """The name of the series' file: two that run at the same time never write the same one."""
    labels = repr(sorted(run_labels(run).items()))
    words = _NOT_IN_NAMES.sub("-", run.command.lower())
    return f"limpet-{words}-{hashlib.sha256(labels.encode()).hexdigest()[:12]}{SUFFIX}"


def _kept(path: Path, run: RunInfo) -> list[Metric]:
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return []
    return [metric for metric, labels in decode_metrics(text) if is_own(labels, run)]


def _replace(path: Path, content: bytes) -> None:
    # The collector reads every name with the suffix: this one must not have it.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, MODE)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, MODE)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise

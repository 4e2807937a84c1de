"""What Prometheus is told of a run: names, meanings and values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from limpet.contracts.hooks import RunInfo, RunResult
from limpet.contracts.run_report import duration_s

_NS = 10**9
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")
_FIGURES = {
    "data_added": ("data_added_bytes", "Bytes of data that were new"),
    "data_added_packed": ("data_added_packed_bytes", "Bytes that were stored of it, compressed"),
    "total_bytes_processed": ("processed_bytes", "Bytes of what was backed up"),
    "total_files_processed": ("processed_files", "Files that were backed up"),
    "total_duration": ("backup_duration_seconds", "Seconds that the backup itself took"),
}
_OF_THE_LAST_GOOD_RUN = ", in the last run that did its work"


@dataclass(frozen=True, slots=True)
class Metric:
    """One gauge."""

    name: str
    meaning: str
    value: float


def run_metrics(run: RunInfo, result: RunResult) -> list[Metric]:
    """The gauges of a run; those that a run has only if it did its work are missing where it did not."""
    ended_s = result.ended_ns / _NS
    metrics = [
        Metric("limpet_last_run_timestamp_seconds", "When the last run ended, in seconds since 1970", ended_s),
        Metric("limpet_last_run_duration_seconds", "Seconds that the last run took", duration_s(run, result)),
        Metric("limpet_last_run_exit_code", "Exit code of the last run; 0 is good", result.exit_code),
        Metric("limpet_last_run_warnings", "Warnings and errors of single files in the last run", result.warnings),
    ]
    if result.is_good:
        meaning = "When the last run ended that did its work (exit code 0 or 3), in seconds since 1970"
        metrics.append(Metric("limpet_last_success_timestamp_seconds", meaning, ended_s))
        metrics += [
            _figure_metric(name, figure) for name, figure in result.figures.items() if not isinstance(figure, str)
        ]
    return metrics


def run_labels(run: RunInfo) -> dict[str, str]:
    """What tells this series of runs from others; a label without a value is left out, as Prometheus has it."""
    labels = {"repository": run.location, "command": run.command, "host": run.hostname, "profile": run.profile}
    return {name: _text(value) for name, value in labels.items() if value}


def is_own(labels: Mapping[str, str], run: RunInfo) -> bool:
    """Whether the labels of a sample are those of this series of runs."""
    return {name: value for name, value in labels.items() if value} == run_labels(run)


def _figure_metric(name: str, figure: float) -> Metric:
    own_name, meaning = _FIGURES.get(name, (name, f"{name.replace('_', ' ').capitalize()}"))
    return Metric("limpet_" + _NOT_IN_NAMES.sub("_", own_name), meaning + _OF_THE_LAST_GOOD_RUN, figure)


def _text(value: str) -> str:
    """Valid UTF-8 of it, which Prometheus insists on."""
    return value.encode("utf-8", "replace").decode()

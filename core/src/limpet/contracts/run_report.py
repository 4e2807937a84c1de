"""How a run ended, in words for people: what hooks send to monitors, by mail or to a chat."""

from __future__ import annotations

import time
from collections.abc import Sequence

from limpet.contracts.hooks import RunInfo, RunResult

_NS = 10**9
_SIZES = frozenset({"data_added", "data_added_packed"})
_TOLD_ELSEWHERE = frozenset({"backup_start", "backup_end", "total_duration"})
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def outcome(result: RunResult) -> str:
    """`success`; `warning` where something was warned of or could not be read; `failure`."""
    if not result.is_good:
        return "failure"
    return "warning" if result.exit_code or result.warnings else "success"


def duration_s(run: RunInfo, result: RunResult) -> float:
    """How long the run took; 0 where that is not known."""
    return max(0, result.ended_ns - run.started_ns) / _NS if run.started_ns and result.ended_ns else 0.0


def report_title(run: RunInfo, result: RunResult) -> str:
    """One line: `limpet backup on laptop: failure (exit code 1)`."""
    where = f" on {run.hostname}" if run.hostname else ""
    code = f" (exit code {result.exit_code})" if result.exit_code else ""
    return f"limpet {run.command}{where}: {outcome(result)}{code}"


def report_lines(run: RunInfo, result: RunResult) -> Sequence[str]:
    """The facts of the run and its figures, one a line; the log is not among them."""
    lines = [f"repository: {run.location}" + (f" (id {result.repository_id[:10]})" if result.repository_id else "")]
    if run.profile:
        lines.append(f"profile: {run.profile}")
    if run.started_ns:
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(run.started_ns // _NS))
        lines.append(f"started: {began}, took {duration_s(run, result):.1f} s")
    if result.error:
        lines.append(f"error: {result.error}")
    if result.warnings:
        lines.append(f"warnings: {result.warnings}")
    for name, figure in result.figures.items():
        if name not in _TOLD_ELSEWHERE:
            lines.append(f"{name.replace('_', ' ')}: {_shown(name, figure)}")
    return lines


def _shown(name: str, figure: float | str) -> str:
    if isinstance(figure, str) or (name not in _SIZES and "bytes" not in name.split("_")):
        return str(figure)
    size, unit = float(figure), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.3f} {_UNITS[unit]}" if unit else f"{figure} B"

"""One moment of a run, as a command is told of it: variables, and a JSON document for its standard input."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass

from limpet.contracts.hooks import RunInfo, RunResult

_PATH = "path"
_NS = 10**9


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is read: its scheme, what follows it, and what went wrong in the run so far."""

    scheme: str
    path: str
    error: str | None = None

    def __str__(self) -> str:
        return self.path if self.scheme == _PATH else f"{self.scheme}:{self.path}"


@dataclass(frozen=True, slots=True)
class Moment:
    """`name` is the option whose command is run; the source or the result is there where the moment has one."""

    name: str
    run: RunInfo
    source: SourceFacts | None = None
    result: RunResult | None = None

    def variables(self) -> dict[str, str]:
        """LIMPET_HOOK is the name, LIMPET_RUN_... the run; _ARGUMENTS are quoted for a shell.

        A source has LIMPET_SOURCE, _SCHEME and _ERROR; where the run is over there are LIMPET_EXIT_CODE, _ERROR,
        _WARNINGS, _REPOSITORY_ID, _DURATION_S and LIMPET_FIGURE_NAME for each of its figures.
        """
        run, source, result = self.run, self.source, self.result
        told = {
            "LIMPET_HOOK": self.name,
            "LIMPET_RUN_ID": run.run_id,
            "LIMPET_RUN_COMMAND": run.command,
            "LIMPET_RUN_LOCATION": run.location,
            "LIMPET_RUN_ARGUMENTS": shlex.join(run.arguments),
            "LIMPET_RUN_HOSTNAME": run.hostname,
            "LIMPET_RUN_PROFILE": run.profile,
            "LIMPET_RUN_STARTED": _time(run.started_ns),
        }
        if source is not None:
            told["LIMPET_SOURCE"] = str(source)
            told["LIMPET_SOURCE_SCHEME"] = source.scheme
            told["LIMPET_SOURCE_ERROR"] = source.error or ""
        if result is not None:
            told["LIMPET_EXIT_CODE"] = str(result.exit_code)
            told["LIMPET_ERROR"] = result.error or ""
            told["LIMPET_WARNINGS"] = str(result.warnings)
            told["LIMPET_REPOSITORY_ID"] = result.repository_id
            told["LIMPET_DURATION_S"] = f"{self._duration_s():.3f}"
            told |= {f"LIMPET_FIGURE_{_variable(name)}": str(figure) for name, figure in result.figures.items()}
        return told

    def document(self) -> bytes:
        """The same and the last lines that were told, as one JSON object in one line."""
        run, source, result = self.run, self.source, self.result
        told: dict[str, object] = {
            "moment": self.name,
            "run": {
                "id": run.run_id,
                "command": run.command,
                "location": run.location,
                "arguments": list(run.arguments),
                "hostname": run.hostname,
                "profile": run.profile,
                "started": _time(run.started_ns),
            },
        }
        if source is not None:
            told["source"] = {"scheme": source.scheme, "path": source.path, "error": source.error}
        if result is not None:
            told["result"] = {
                "exit_code": result.exit_code,
                "error": result.error,
                "warnings": result.warnings,
                "repository_id": result.repository_id,
                "ended": _time(result.ended_ns),
                "duration_s": self._duration_s(),
                "figures": dict(result.figures),
                "log": list(result.log),
            }
        return json.dumps(told).encode() + b"\n"

    def _duration_s(self) -> float:
        return max(0, self.result.ended_ns - self.run.started_ns) / _NS if self.result else 0.0


def safe_environment(
    environ: Mapping[str, str], told: Mapping[str, str], passed: frozenset[str] = frozenset()
) -> dict[str, str]:
    """`environ` without secrets (but with those in `passed`) and with what is told, each in a form a process takes."""
    kept = {name: value for name, value in environ.items() if name in passed or not _is_secret(name)}
    # A NUL ends a variable in the system's eyes, and is refused; so is one of 128 KiB.
    return kept | {name: value.replace("\0", "?")[:LONGEST_VARIABLE] for name, value in told.items()}


LONGEST_VARIABLE = 30_000
"""In characters, of which UTF-8 makes up to four bytes each."""

_SECRET_NAME = re.compile(r"PASSW|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|_KEY$|_KEY_|APIKEY", re.IGNORECASE)
_LOCATIONS = ("LIMPET_REPOSITORY", "RESTIC_REPOSITORY", "LIMPET_FROM_REPOSITORY", "RESTIC_FROM_REPOSITORY")
"""A location may hold a password; LIMPET_RUN_LOCATION tells it without."""
_SERVICES = re.compile(r"LIMPET_(HEALTHCHECKS|NOTIFY|PROMETHEUS)_")
"""Addresses of services, which other hooks are given: who has one may write there."""


def _is_secret(name: str) -> bool:
    return name in _LOCATIONS or _SECRET_NAME.search(name) is not None or _SERVICES.match(name) is not None


def _variable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def _time(moment_ns: int) -> str:
    """RFC 3339 in UTC; empty where it is not known."""
    if not moment_ns:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment_ns // _NS))

"""The environment of a hook's command: what the run is and how it ended; nothing that opens the repository."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping

from limpet.contracts.hooks import RunInfo, RunResult

_SECRET_NAME = re.compile(r"PASSW|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|_KEY$|_KEY_|APIKEY", re.IGNORECASE)
_LOCATIONS = ("LIMPET_REPOSITORY", "RESTIC_REPOSITORY", "LIMPET_FROM_REPOSITORY", "RESTIC_FROM_REPOSITORY")
"""A location may hold a password; LIMPET_RUN_LOCATION tells it without."""


def hook_environment(
    moment: str,
    run: RunInfo,
    result: RunResult | None,
    *,
    passed: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The caller's environment without secrets (but with those in `passed`), and the LIMPET_ variables of the run.

    LIMPET_HOOK is the moment, LIMPET_RUN_COMMAND, _LOCATION, _ARGUMENTS (quoted for a shell) and _HOSTNAME tell
    the run; where it is over, LIMPET_EXIT_CODE, LIMPET_ERROR and LIMPET_FIGURE_NAME for each of its figures.
    """
    environ = os.environ if environ is None else environ
    kept = {name: value for name, value in environ.items() if name in passed or not _is_secret(name)}
    told = {
        "LIMPET_HOOK": moment,
        "LIMPET_RUN_COMMAND": run.command,
        "LIMPET_RUN_LOCATION": run.location,
        "LIMPET_RUN_ARGUMENTS": shlex.join(run.arguments),
        "LIMPET_RUN_HOSTNAME": run.hostname,
    }
    if result is not None:
        told["LIMPET_EXIT_CODE"] = str(result.exit_code)
        told["LIMPET_ERROR"] = result.error or ""
        told |= {f"LIMPET_FIGURE_{_variable(name)}": str(figure) for name, figure in result.figures.items()}
    # A NUL ends a variable in the system's eyes, and is refused.
    return kept | {name: value.replace("\0", "?") for name, value in told.items()}


def _is_secret(name: str) -> bool:
    return name in _LOCATIONS or _SECRET_NAME.search(name) is not None


def _variable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()

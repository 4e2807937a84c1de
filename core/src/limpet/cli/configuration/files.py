"""Which configuration file is read, and whether it may be trusted: what it says is run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from limpet.errors import UsageError

NAME = "limpet.toml"
VARIABLE = "LIMPET_CONFIG"
SYSTEM_FILE = Path("/etc/limpet") / NAME


def user_file() -> Path:
    """The user's own configuration, there or not: `~/.config/limpet/limpet.toml`."""
    import platformdirs  # noqa: PLC0415  # for few commands

    return Path(platformdirs.user_config_dir("limpet", appauthor=False)) / NAME


def find_configuration(given: str | None) -> Path:
    """The file to read: `given`, that of LIMPET_CONFIG, the user's or the system's; UsageError where none is there.

    The working folder is not looked into: somebody else's folder must not be able to have commands run.
    """
    named = given or os.environ.get(VARIABLE)
    if named:
        return _trusted(Path(named).expanduser().absolute(), by_name=True)
    candidates = [user_file(), SYSTEM_FILE]
    for candidate in candidates:
        if candidate.exists():
            return _trusted(candidate, by_name=False)
    raise UsageError(
        f"there is no configuration: neither {candidates[0]} nor {candidates[1]} exists; write one, or name it with "
        f"--config or {VARIABLE}"
    )


def _trusted(file: Path, *, by_name: bool) -> Path:
    """The file, if nobody else can have written it; UsageError with the way out."""
    try:
        status = file.stat()
    except OSError as error:
        raise UsageError(f"cannot read the configuration {file}: {error.strerror}") from error
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
        raise UsageError(f"anybody may write to the configuration {file}, and it runs commands: `chmod o-w {file}`")
    if not by_name and status.st_uid not in {0, os.getuid()}:
        raise UsageError(
            f"the configuration {file} belongs to another user, and it runs commands: name it with --config if it is "
            "to be trusted"
        )
    return file

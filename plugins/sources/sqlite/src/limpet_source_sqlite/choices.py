"""What the options may be. Apart from the programs, which the source only starts and does not import."""

from __future__ import annotations

from typing import Final

BACKUP, VACUUM = "backup", "vacuum"
METHODS: Final = (BACKUP, VACUUM)
"""How a database is copied."""
FULL, QUICK, NONE = "full", "quick", "none"
CHECKS: Final = (FULL, QUICK, NONE)
"""How a copy is checked."""
WAIT_S: Final = 60
"""How long to wait for a writer that has locked a database, if nothing else is said."""

"""Who may do what: one table of access and kind of file, and the rules about folders.

Write-only is what a backup needs and no more: restic reads the config, a key, the locks and the index, and looks for
the newest snapshot of its host. That list is empty for such a user, so he reads every file again and stores what is
new; the packs, which hold the data, and the snapshots never come back to him.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from limpet.contracts.backend import FileKind


class Access(Enum):
    """How much a user may do; the value is what people write."""

    FULL = "full"
    APPEND_ONLY = "append-only"
    WRITE_ONLY = "write-only"
    READ_ONLY = "read-only"


class Action(Enum):
    """What a request wants."""

    CREATE = "create"
    """A repository's folders."""
    LIST = "list"
    STAT = "stat"
    READ = "read"
    WRITE = "write"
    REMOVE = "remove"


class Verdict(Enum):
    """What becomes of a request."""

    ALLOW = "allow"
    REFUSE = "refuse"
    """403: the user is known and may not do this."""
    HIDE = "hide"
    """A listing without anything in it: what asks for it goes on as if there were nothing."""


_ALL = frozenset(FileKind)
_LOCKS = frozenset({FileKind.LOCK})
_SECRET = frozenset({FileKind.PACK, FileKind.SNAPSHOT})
"""What holds the data and the way to it."""
_NONE: frozenset[FileKind] = frozenset()

_TABLE: Mapping[Access, Mapping[Action, frozenset[FileKind]]] = {
    Access.FULL: dict.fromkeys(Action, _ALL),
    Access.APPEND_ONLY: {**dict.fromkeys(Action, _ALL), Action.REMOVE: _LOCKS},
    Access.WRITE_ONLY: {
        Action.CREATE: _ALL,
        Action.LIST: _ALL - _SECRET,
        Action.STAT: _ALL,
        Action.READ: _ALL - _SECRET,
        Action.WRITE: _ALL,
        Action.REMOVE: _LOCKS,
    },
    Access.READ_ONLY: {
        Action.CREATE: _NONE,
        Action.LIST: _ALL,
        Action.STAT: _ALL,
        Action.READ: _ALL,
        Action.WRITE: _LOCKS,
        Action.REMOVE: _LOCKS,
    },
}


@dataclass(frozen=True, slots=True)
class Rights:
    """What one user may do. `quota_bytes` and `retention_days` narrow what the server grants to all."""

    access: Access = Access.FULL
    quota_bytes: int | None = None
    retention_days: int | None = None


FULL_RIGHTS = Rights()


def verdict(accesses: Iterable[Access], action: Action, kind: FileKind | None) -> Verdict:
    """Whether all of these let the action through; `kind` is None for a repository as a whole."""
    for access in accesses:
        allowed = _TABLE[access][action]
        if not allowed if kind is None else kind not in allowed:
            return Verdict.HIDE if action is Action.LIST else Verdict.REFUSE
    return Verdict.ALLOW


def may_enter(user: str, folders: Sequence[str], rights: Rights, *, private: bool) -> bool:
    """Whether the folder of the repository is the user's.

    With private repositories each user has the first folder of his name. A user with a quota has so in any case:
    otherwise nobody could say which bytes are his.
    """
    if not private and rights.quota_bytes is None:
        return True
    return bool(folders) and bool(user) and folders[0] == user

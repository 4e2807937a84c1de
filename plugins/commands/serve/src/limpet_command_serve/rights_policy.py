"""What the user may do, and in which folders."""

from __future__ import annotations

from limpet.contracts.backend import FileKind

from limpet_command_serve.auth_policy import unauthorized
from limpet_command_serve.exchange import Exchange, Refusal
from limpet_command_serve.lock_bounds import LockBounds
from limpet_command_serve.policy import Policy, UploadGuard
from limpet_command_serve.rights import Access, Action, Verdict, may_enter, verdict
from limpet_command_serve.rights_file import UserRights

METRICS_PATH = "/metrics"
METRICS_USER = "metrics"
"""The user who may see the metrics of all where repositories are private; rest-server's name."""


class RightsPolicy(Policy):
    """The server's own limits, and the user's."""

    def __init__(self, rights: UserRights | None, locks: LockBounds, *, append_only: bool, private: bool) -> None:
        self._rights = rights
        self._locks = locks
        self._server = (Access.APPEND_ONLY,) if append_only else ()
        self._private = private

    async def admit(self, exchange: Exchange) -> None:
        if exchange.path == METRICS_PATH:
            if self._private and exchange.user != METRICS_USER:
                raise unauthorized(f"with private repositories only the user {METRICS_USER} may see the metrics")
            return
        target, action = exchange.target, exchange.action
        accesses = self._server
        if self._rights is not None and target is not None:
            rights = self._rights.of(exchange.user)
            if not may_enter(exchange.user, target.folders, rights, private=self._private):
                raise unauthorized("this repository is not the user's")
            accesses = (*accesses, rights.access)
        if target is None or action is None:
            return  # The protocol has its answers to nonsense.
        match verdict(accesses, action, target.kind):
            case Verdict.REFUSE:
                raise Refusal(403, _reason(action, accesses))
            case Verdict.HIDE:
                exchange.hides_listing = True

    def begin_upload(self, exchange: Exchange, size_bytes: int | None) -> UploadGuard | None:
        target = exchange.target
        if target is None or target.kind is not FileKind.LOCK:
            return None
        access = Access.FULL if self._rights is None else self._rights.of(exchange.user).access
        accesses = (*self._server, access)
        if all(access is Access.FULL for access in accesses):
            return None
        may_create = verdict(accesses, Action.CREATE, None) is Verdict.ALLOW
        return self._locks.begin(target.folders, size_bytes, may_create=may_create)

    def reload(self) -> None:
        if self._rights is not None:
            self._rights.read_again()


def _reason(action: Action, accesses: tuple[Access, ...]) -> str:
    words = {
        Action.CREATE: "creating a repository",
        Action.READ: "reading",
        Action.WRITE: "writing",
        Action.REMOVE: "removing",
    }
    names = " and ".join(access.value for access in accesses if access is not Access.FULL)
    return f"{words.get(action, action.value)} this is not allowed: access is {names}"

"""What a server's refusal and ssh's last words mean: permanent or not, in one plain line."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from limpet.errors import BackendError, MissingFileError

from limpet_backend_sftp.protocol import Status, StatusError

_NOT_FOUND = 127
_PERMANENT_REFUSALS = {Status.PERMISSION_DENIED, Status.BAD_MESSAGE, Status.OP_UNSUPPORTED}
_WAYS_OUT = {
    "host key verification failed": "compare the server's key and put it into known_hosts, for instance by"
    " connecting once with `ssh` by hand",
    "permission denied (": "give a key that the server knows: an agent, an IdentityFile in the ssh configuration,"
    " or -o sftp.args='-i KEY'",
    "too many authentication failures": "name the one key to use: -o sftp.args='-i KEY -o IdentitiesOnly=yes'",
    "subsystem request failed": "the server offers no SFTP: its sshd_config needs a line `Subsystem sftp`",
    "unable to negotiate": "client and server have no algorithm in common",
    "bad configuration option": "mend the ssh configuration",
    "bad owner or permissions": "mend the ssh configuration",
    "name or service not known": "look at the host's name",
    "unknown option": "look at sftp.args",
    "illegal option": "look at sftp.args",
    "can't open user config file": "look at sftp.args",
    "command not found": "look at sftp.command",
}
"""What ssh says where trying again is pointless, in small letters, and the way out."""


def refusal(error: StatusError, what: str) -> BackendError:
    """The server's refusal of `what`, which names the file."""
    if error.code == Status.NO_SUCH_FILE:
        return MissingFileError(f"{what}: no such file or directory")  # restic's words: scripts look for them
    reason = "permission denied" if error.code == Status.PERMISSION_DENIED else str(error).lower()
    return BackendError(f"{what}: {reason}", permanent=error.code in _PERMANENT_REFUSALS)


def last_words(program: str, place: str, code: int | None, lines: Sequence[str], *, greeted: bool) -> BackendError:
    """Why a program that carried the connection has ended: its exit code, negative for a signal, and what it said."""
    said = [line for line in lines if line.strip()]
    for line in reversed(said):
        for words, way_out in _WAYS_OUT.items():
            if not greeted and words in line.lower():
                return BackendError(f"cannot connect to {place}: {line.rstrip('.')}; {way_out}", permanent=True)
    if code in {-signal.SIGINT, 128 + signal.SIGINT} and not greeted:
        return BackendError(f"{program} was interrupted before it had reached {place}", permanent=True)
    reason = said[-1] if said else "it said nothing"
    if greeted:
        return BackendError(f"the connection to {place} is lost, {program} {_how_it_ended(code)}: {reason}")
    permanent = code in {0, _NOT_FOUND}  # ended well without a word of SFTP: it will do the same again
    return BackendError(f"cannot connect to {place}: {program} {_how_it_ended(code)}: {reason}", permanent=permanent)


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "has closed its output"
    if code < 0:
        return f"was ended by signal {-code}"
    return f"ended with exit code {code}"

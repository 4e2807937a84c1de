"""What the statuses of a REST server mean: which are for good, and what one can do about them."""

from __future__ import annotations

from limpet.contracts.backend import Handle
from limpet.contracts.retry_after import retry_after_s
from limpet.errors import BackendError, MissingFileError, StorageFullError

from limpet_backend_rest.wire import Answer

_TRANSIENT_4XX = {408, 409, 423, 425, 429}
_PERMANENT_5XX = {501, 505, 507}
_LONGEST_QUOTE = 200
_ADVICE = {
    401: "; check user name and password, in the location or in RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD",
    403: "; this user may not do that",
    404: "; no repository can be at that path of the server",
    407: "; the proxy wants a user name and password: http://user:password@host",
    413: "; it takes no file of that size",
    507: "; there is no space left for it",
}


def status_error(what: str, location: str, answer: Answer, *, saving: bool = False) -> BackendError:
    """The error for an answer that is no success; `saving` where the server has looked at a body of ours."""
    status = answer.status
    said = _said(answer)
    message = f"cannot {what} at {location}: the server answered {status} {said}{_advice(status, answer, saving)}"
    if status == 507:
        return StorageFullError(message)
    permanent = _is_permanent(status, saving=saving)
    return BackendError(message, permanent=permanent, retry_after_s=retry_after_s(answer.headers.get("retry-after")))


def missing(handle: Handle, location: str) -> MissingFileError:
    """The error for a file that is not there, in restic's words, which scripts look for."""
    return MissingFileError(f"{handle} does not exist at {location}")


def _is_permanent(status: int, *, saving: bool) -> bool:
    if status == 400 and saving:
        return False  # rest-server, of a body that is cut or not what its name says: it broke on the way
    if status >= 500:
        return status in _PERMANENT_5XX
    return status not in _TRANSIENT_4XX


def _advice(status: int, answer: Answer, saving: bool) -> str:
    if 300 <= status < 400:
        place = _printable(answer.headers.get("location", "another place"))
        return f"; it says to go to {place}: give that as the location"
    if status == 403 and saving:
        return "; the file is there already, or this user may not write"
    return _ADVICE.get(status, "")


def _said(answer: Answer) -> str:
    """The reason in the server's words: one line, of printable characters only."""
    text = answer.beginning().decode("utf-8", "replace").strip()
    lines = text.splitlines()
    words = lines[0] if len(lines) == 1 and "<" not in text and text != answer.reason else ""
    both = f"{answer.reason} ({words})" if words else answer.reason
    return _printable(both)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:_LONGEST_QUOTE]

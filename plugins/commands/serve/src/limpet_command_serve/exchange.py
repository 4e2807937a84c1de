"""What is known of one request and of its answer, from its first line to the last byte sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from limpet_command_serve.names import Target
from limpet_command_serve.rights import Action


@dataclass(slots=True)
class Exchange:
    """One request and its answer. Made by the protocol, which fills it on; policies read it and set `user`.

    Times are seconds: `began_s` of Unix time, `duration_s` from the whole head to the end of the answer.
    """

    began_s: float
    client: str
    """The peer's address without its port; empty where there is none (unix socket)."""
    method: str
    path: str
    """Decoded, without the query."""
    http_version: str = "1.1"
    raw_target: str = field(default="", repr=False)
    """As it came, for the access log; a query may hold anything."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By lower-case name; where one came twice the first, or both if it is a list. Holds passwords: never logged."""
    target: Target | None = None
    """None where the path names nothing."""
    action: Action | None = None
    """None where target and method do not fit together."""
    user: str = ""
    hides_listing: bool = False
    """Set by a policy: the listing is answered as an empty one."""
    status: int = 0
    """0 while there is no answer; 499 where the client went before it."""
    reason: str = ""
    """Why it was refused, or what failed."""
    received_bytes: int = 0
    """Of the request's body."""
    sent_bytes: int = 0
    """Of the answer's body."""
    stored_bytes: int | None = None
    """The size of the file that was stored anew; None where none was."""
    removed_bytes: int | None = None
    """The size of the file that was removed; None where none was."""
    duration_s: float = 0.0

    @property
    def origin(self) -> str:
        """Whom limits are counted for: the client's address, or the one that the proxy behind a unix socket gives.

        The last one in the header: what comes before it is what the client said of itself.
        """
        return self.client or self.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer with a small body."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    """Said in the first line, too: of an error restic shows that line and no more."""
    size_bytes: int | None = None
    """Of a body that is not here, but in a file."""


class Refusal(Exception):  # noqa: N818  # a decision, no failure
    """The request is not served: the status, one line for the client and the audit log, and further headers."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers

"""Where messages go: addresses in Apprise's notation, which hold passwords and tokens and are shown nowhere."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType, PersistentStoreMode
from limpet.contracts.delivery import DeliveryError
from limpet.errors import UsageError

_TYPES = {"success": NotifyType.SUCCESS, "warning": NotifyType.WARNING, "failure": NotifyType.FAILURE}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BETWEEN_PIECES = re.compile(r"[/:@?&=#,;]+")
_SHORTEST_SECRET = 3
_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class Recipient:
    """One address; `name` says which, without what is in it."""

    name: str
    _url: str
    _service: Any

    def send(self, outcome: str, title: str, body: str, timeout_s: float) -> None:
        """Send a message; DeliveryError with what the library says about it, without the address."""
        self._service.socket_connect_timeout = self._service.socket_read_timeout = timeout_s
        with _complaints() as complaints:
            try:
                is_sent = self._service.notify(
                    title=title, body=body, notify_type=_TYPES[outcome], body_format=NotifyFormat.TEXT
                )
            except Exception as error:
                raise DeliveryError(type(error).__name__) from None
        if not is_sent:
            reason = self._without_secrets(complaints[-1]) if complaints else "it did not take the message"
            raise DeliveryError(reason)

    def _without_secrets(self, text: str) -> str:
        pieces = {piece for part in _BETWEEN_PIECES.split(self._url) for piece in (part, unquote(part))}
        for piece in sorted(pieces, key=len, reverse=True):
            if len(piece) >= _SHORTEST_SECRET:
                text = text.replace(piece, _HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"Recipient({self.name!r})"


def parse_recipients(text: str) -> Sequence[Recipient]:
    """The recipients, white space between them; lines that begin with # are left out.

    UsageError, which names the place and the kind of service alone, for an address that Apprise does not understand.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    urls = " ".join(lines).split()
    if not urls:
        raise UsageError("notify.urls: there is no address")
    return [_recipient(number, url) for number, url in enumerate(urls, 1)]


def _recipient(number: int, url: str) -> Recipient:
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise UsageError(f"notify.urls: address number {number} is none: they begin with SERVICE://")
    name = f"recipient {number} ({scheme[1]})"
    asset = AppriseAsset(storage_mode=PersistentStoreMode.MEMORY, app_id="Limpet", app_desc="Limpet")
    with _complaints():
        service = Apprise.instantiate(url, asset=asset)
    if service is None:
        raise UsageError(
            f"notify.urls: {name}: Apprise knows no such service, or something in the address is missing or too much"
        )
    return Recipient(name, url, service)


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """What Apprise logs as going wrong meanwhile; it goes nowhere else, for it may hold parts of the address."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("apprise")
    handler, propagates = Keep(logging.WARNING), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates

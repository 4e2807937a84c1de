"""User and password out of the header `Authorization: Basic` (RFC 7617)."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field

CHALLENGE = ("WWW-Authenticate", 'Basic realm="restic", charset="UTF-8"')


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says of itself."""

    user: str
    password: str = field(repr=False)


def decode_basic(header: str) -> Credentials | None:
    """The credentials; None where the header holds none. Bytes that are no UTF-8 become surrogates."""
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = binascii.a2b_base64(encoded.strip().encode("ascii"), strict_mode=True).decode("utf-8", "surrogateescape")
    except ValueError:
        return None
    user, colon, password = text.partition(":")
    return Credentials(user, password) if colon else None

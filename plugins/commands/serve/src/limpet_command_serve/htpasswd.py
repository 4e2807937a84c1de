"""The file `.htpasswd` as rest-server reads it: one `user:hash` a line, hashes by bcrypt or `{SHA}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from limpet.errors import UsageError
from limpet.textfile import text_lines

BCRYPT_ROUNDS = 10
"""2^10: some 50 ms of one core for each guess; what has to be guessed is kept for a minute by the server."""
BCRYPT_BYTES = 72
"""bcrypt sees no more of a password."""
_BCRYPT_MARKS = ("$2a$", "$2b$", "$2y$")
_SHA_MARK = "{SHA}"
_PUNCTUATION = frozenset("0123456789@._-")


@dataclass(frozen=True, slots=True)
class Htpasswd:
    """What the file says. `ignored` are its lines that name no user, as a person may be told: no hash is in them."""

    hashes: Mapping[str, str]
    ignored: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Htpasswd({sorted(self.hashes)})"


def is_user_name(name: str) -> bool:
    """Whether rest-server takes it for a user's name: letters of any script, digits, `@`, `.`, `_`, `-`."""
    return bool(name) and all(letter.isalpha() or letter in _PUNCTUATION for letter in name)


def decode_htpasswd(data: bytes) -> Htpasswd:
    """The users in the file; of two lines for one user the last one counts."""
    hashes: dict[str, str] = {}
    ignored = []
    for number, line in enumerate(text_lines(data), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        user, colon, rest = text.partition(":")
        stored = rest.partition(":")[0].strip()
        if not colon:
            ignored.append(f"line {number}: there is no colon in it")
        elif not is_user_name(user):
            ignored.append(f"line {number}: the name has characters other than letters, digits, '@', '.', '_' and '-'")
        elif not stored.startswith((_SHA_MARK, *_BCRYPT_MARKS)):
            ignored.append(f"line {number}: the password of {user} is hashed neither by bcrypt nor as {{SHA}}")
        else:
            hashes[user] = stored
    return Htpasswd(hashes, tuple(ignored))


def with_user(data: bytes, user: str, stored: str | None) -> bytes:
    """The file with this hash for the user, or without him where it is None; all other lines as they are."""
    lines = [
        line
        for line in data.splitlines(keepends=True)
        if line.strip().partition(b":")[0].decode("utf-8", "surrogateescape") != user
    ]
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    if stored is not None:
        lines.append(f"{user}:{stored}\n".encode())
    return b"".join(lines)


def hash_password(password: bytes) -> str:
    """A new hash by bcrypt, in the spelling that every reader of such files knows; UsageError for a bad password."""
    import bcrypt  # noqa: PLC0415  # not every server has users

    if not password:
        raise UsageError("the password is empty, choose another one")
    if len(password) > BCRYPT_BYTES:
        raise UsageError(f"the password is longer than {BCRYPT_BYTES} bytes, bcrypt would ignore the rest: shorten it")
    if b"\0" in password or b"\n" in password or b"\r" in password:
        raise UsageError("the password has more than one line or a zero byte, choose another one")
    return bcrypt.hashpw(password, bcrypt.gensalt(BCRYPT_ROUNDS, b"2b")).decode().replace("$2b$", "$2y$", 1)


def is_password(stored: str, password: bytes) -> bool:
    """Whether it is the password of the hash, in a time that does not tell how much of it is. bcrypt takes long."""
    if stored.startswith(_SHA_MARK):
        # Not every server has such users, and OpenSSL's library takes 3 MB.
        import base64  # noqa: PLC0415
        import hashlib  # noqa: PLC0415
        import hmac  # noqa: PLC0415

        wanted = stored.removeprefix(_SHA_MARK).encode()
        return hmac.compare_digest(wanted, base64.b64encode(hashlib.sha1(password).digest()))
    import bcrypt  # noqa: PLC0415  # as above

    try:
        return bcrypt.checkpw(password[:BCRYPT_BYTES], stored.encode())
    except ValueError:  # It has bcrypt's mark and is none.
        return False

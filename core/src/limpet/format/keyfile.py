"""Key files: plain JSON that holds the master key, sealed with a key derived from a password by scrypt."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field

from limpet.errors import IntegrityError, RepositoryError, WrongPasswordError
from limpet.format import Buffer
from limpet.format import fields as read
from limpet.format.crypto import SEAL_OVERHEAD, Box, MasterKey
from limpet.format.gojson import JsonValue, json_value
from limpet.format.kdf import KdfParameters, derive_key
from limpet.format.timestamps import Time, format_time

KDF_NAME = "scrypt"

_KNOWN = frozenset(("created", "username", "hostname", "kdf", "N", "r", "p", "salt", "data"))


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Who created the key and when, how its password becomes a key, and the sealed master key."""

    created: Time
    username: str
    hostname: str
    kdf: KdfParameters
    data: bytes = field(repr=False)
    extra: dict[str, JsonValue] = field(default_factory=dict)  # fields of other programs

    def open(self, password: str) -> MasterKey:
        """The master key; WrongPasswordError if the password does not open it. Takes about half a second.

        IntegrityError if it opens and holds no key.
        """
        user_key = derive_key(password, self.kdf)
        try:
            plain = Box(user_key).open(self.data)
        except IntegrityError as error:
            raise WrongPasswordError("wrong password or no key found") from error
        return _decode_master_key(plain)


def seal_master_key(master_key: MasterKey, password: str, parameters: KdfParameters) -> bytes:
    """The master key as `KeyFile.data` holds it. Takes about half a second."""
    return Box(derive_key(password, parameters)).seal(_encode_master_key(master_key))


def encode_keyfile(keyfile: KeyFile) -> bytes:
    """The JSON as restic writes it, other programs' fields last."""
    fields: dict[str, JsonValue] = {
        "created": format_time(*keyfile.created),
        "username": keyfile.username,
        "hostname": keyfile.hostname,
        "kdf": KDF_NAME,
        "N": keyfile.kdf.n,
        "r": keyfile.kdf.r,
        "p": keyfile.kdf.p,
        "salt": b64encode(keyfile.kdf.salt).decode("ascii"),
        "data": b64encode(keyfile.data).decode("ascii"),
    }
    return json_value(fields | keyfile.extra)


def decode_keyfile(json: Buffer) -> KeyFile:
    """The key file; IntegrityError if malformed or absurd, RepositoryError if it needs another function than scrypt."""
    fields = read.decode_object(json, "a key")
    kdf_name = read.string(fields, "kdf")
    if kdf_name != KDF_NAME:
        raise RepositoryError(f"key uses {kdf_name[:20]!r} to derive keys; only {KDF_NAME} is known")
    n, r, p = (read.uint(fields, name) for name in ("N", "r", "p"))
    data = read.base64(fields, "data") or b""
    if len(data) < SEAL_OVERHEAD:
        raise IntegrityError(f"key has {len(data)} bytes of sealed data, too few to hold a key")
    return KeyFile(
        created=read.time(fields, "created"),
        username=read.string(fields, "username"),
        hostname=read.string(fields, "hostname"),
        kdf=KdfParameters(n, r, p, read.base64(fields, "salt") or b""),
        data=data,
        extra={name: value for name, value in fields.items() if name not in _KNOWN},
    )


def _encode_master_key(key: MasterKey) -> bytes:
    return b'{"mac":{"k":"%b","r":"%b"},"encrypt":"%b"}' % (
        b64encode(key.mac_k),
        b64encode(key.mac_r),
        b64encode(key.encrypt),
    )


def _decode_master_key(json: Buffer) -> MasterKey:
    fields = read.decode_object(json, "the master key")
    mac = read.as_object(fields.get("mac"), "the master key's mac")
    parts = (read.base64(fields, "encrypt"), read.base64(mac, "k"), read.base64(mac, "r"))
    try:
        return MasterKey(*(part or b"" for part in parts))
    except ValueError as error:
        raise IntegrityError(f"the master key is damaged: {error}") from error

"""Key files: plain JSON that holds the master key, sealed with a key derived from a password by scrypt."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from limpet.errors import IntegrityError, RepositoryError, WrongPasswordError
from limpet.format import Buffer
from limpet.format.crypto import SEAL_OVERHEAD, Box, MasterKey
from limpet.format.gojson import JsonValue, json_string
from limpet.format.jsonobject import JsonObject, encode_unknown
from limpet.format.kdf import KdfParameters, derive_key
from limpet.format.timestamps import Time, format_time, parse_time

KDF_NAME = "scrypt"
ZERO_TIME = "0001-01-01T00:00:00Z"  # what Go writes for a time that was never set

_FIELDS = ("created", "username", "hostname", "kdf", "N", "r", "p", "salt", "data")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Who created the key and when, how its password becomes a key, and the sealed master key."""

    created: Time
    username: str
    hostname: str
    kdf: KdfParameters
    data: bytes = field(repr=False)
    extra: Mapping[str, JsonValue] = field(default_factory=dict)  # fields of other programs

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
    created = format_time(keyfile.created.ns, keyfile.created.offset_s)
    return (
        b'{"created":"%b","username":%b,"hostname":%b,"kdf":"scrypt","N":%d,"r":%d,"p":%d,"salt":"%b","data":"%b"%b}'
        % (
            created.encode("ascii"),
            json_string(keyfile.username),
            json_string(keyfile.hostname),
            keyfile.kdf.n,
            keyfile.kdf.r,
            keyfile.kdf.p,
            b64encode(keyfile.kdf.salt),
            b64encode(keyfile.data),
            encode_unknown(keyfile.extra),
        )
    )


def decode_keyfile(json: Buffer) -> KeyFile:
    """The key file; IntegrityError if malformed or absurd, RepositoryError if it needs another function than scrypt."""
    fields = JsonObject.parse(json, "key")
    kdf_name = fields.text("kdf")
    if kdf_name != KDF_NAME:
        raise RepositoryError(f"key uses {kdf_name[:20]!r} to derive keys; only {KDF_NAME} is known")
    parameters = KdfParameters(fields.integer("N"), fields.integer("r"), fields.integer("p"), fields.base64("salt"))
    data = fields.base64("data")
    if len(data) < SEAL_OVERHEAD:
        raise IntegrityError(f"key: field 'data' has {len(data)} bytes, too few for a key")
    created = parse_time(fields.text("created", ZERO_TIME))
    username, hostname = fields.text("username", ""), fields.text("hostname", "")
    return KeyFile(created, username, hostname, parameters, data, fields.unknown(_FIELDS))


def _encode_master_key(key: MasterKey) -> bytes:
    return b'{"mac":{"k":"%b","r":"%b"},"encrypt":"%b"}' % (
        b64encode(key.mac_k),
        b64encode(key.mac_r),
        b64encode(key.encrypt),
    )


def _decode_master_key(json: Buffer) -> MasterKey:
    fields = JsonObject.parse(json, "master key")
    mac = JsonObject(fields.fields.get("mac"), "master key's mac")
    try:
        return MasterKey(fields.base64("encrypt"), mac.base64("k"), mac.base64("r"))
    except ValueError as error:
        raise IntegrityError(f"master key is damaged: {error}") from error

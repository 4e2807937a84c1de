"""Typed reading of decoded JSON objects: the value that was promised, or IntegrityError.

As in Go, a member that is missing or null reads as the zero value of its type.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import Any, TypeAlias

import orjson

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.timestamps import ZERO_TIME, Time, parse_time
from limpet.ids import ID_SIZE

Fields: TypeAlias = dict[str, Any]
"""A JSON object just decoded; nothing is known of its values yet."""

UINT32 = (1 << 32) - 1
UINT64 = (1 << 64) - 1


def decode_json(data: Buffer, what: str) -> Any:
    """The JSON document; IntegrityError naming `what` it should have been."""
    try:
        return orjson.loads(data)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise IntegrityError(f"{what} is not valid JSON: {error}") from error


def decode_object(data: Buffer, what: str) -> Fields:
    """The JSON document, which has to be an object; IntegrityError naming `what` it should have been."""
    return as_object(decode_json(data, what), what)


def as_object(value: Any, what: str) -> Fields:
    """The value if it is an object."""
    if type(value) is not dict:
        raise IntegrityError(f"{what} is not a JSON object")
    return value


def uint(fields: Fields, key: str, limit: int = UINT64) -> int:
    """An integer in 0..limit; 0 if absent."""
    value = fields.get(key, 0)
    if type(value) is int and 0 <= value <= limit:
        return value
    if value is None:
        return 0
    raise IntegrityError(f"{key} is no whole number in 0..{limit}: {_shown(value)}")


def boolean(fields: Fields, key: str) -> bool:
    """True or False; False if absent."""
    value = fields.get(key)
    if value is None:
        return False
    if type(value) is not bool:
        raise IntegrityError(f"{key} is neither true nor false: {_shown(value)}")
    return value


def string(fields: Fields, key: str) -> str:
    """A string; empty if absent."""
    value = fields.get(key, "")
    if type(value) is str:
        return value
    if value is None:
        return ""
    raise IntegrityError(f"{key} is not a string: {_shown(value)}")


def array(fields: Fields, key: str) -> list[Any] | None:
    """A list of anything; None if absent."""
    value = fields.get(key)
    if value is None or type(value) is list:
        return value
    raise IntegrityError(f"{key} is not a list: {_shown(value)}")


def strings(fields: Fields, key: str) -> list[str]:
    """A list of strings; empty if absent."""
    values = array(fields, key) or []
    for value in values:
        if type(value) is not str:
            raise IntegrityError(f"{key} holds something that is not a string: {_shown(value)}")
    return values


def time(fields: Fields, key: str) -> Time:
    """A time; Go's zero time, the start of the year 1, if absent."""
    value = fields.get(key)
    if type(value) is str:
        return parse_time(value)
    if value is None:
        return ZERO_TIME
    raise IntegrityError(f"{key} is not a time: {_shown(value)}")


def identifier(fields: Fields, key: str) -> bytes | None:
    """The 32 bytes of an id; None if absent."""
    value = fields.get(key)
    return None if value is None else id_from_hex(value)


def id_from_hex(value: Any) -> bytes:
    """The 32 bytes that 64 hex digits stand for, in either case."""
    if type(value) is str and len(value) == 2 * ID_SIZE:
        try:
            raw = bytes.fromhex(value)
        except ValueError:
            raw = b""
        if len(raw) == ID_SIZE:  # fromhex lets spaces pass
            return raw
    raise IntegrityError(f"not an id (64 hex digits): {_shown(value)}")


def base64(fields: Fields, key: str) -> bytes | None:
    """The bytes of a base64 string; None if absent."""
    value = fields.get(key)
    if value is None:
        return None
    try:
        if type(value) is str:
            return a2b_base64(value, strict_mode=True)
    except (Base64Error, ValueError) as error:
        raise IntegrityError(f"{key} is not valid base64: {error}") from error
    raise IntegrityError(f"{key} is not a base64 string: {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, int, float)) else type(value).__name__
    return text if len(text) <= 80 else text[:80] + "..."

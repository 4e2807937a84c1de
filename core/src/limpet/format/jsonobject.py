"""One decoded JSON object whose fields are taken by type: every surprise becomes one clear IntegrityError."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping

import orjson

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format.gojson import JsonValue, json_string, json_value


def parse_json(json: Buffer, what: str) -> JsonValue:
    """The value; IntegrityError naming `what` ("config", ...) if it is no JSON."""
    try:
        value: JsonValue = orjson.loads(json)
    except orjson.JSONDecodeError as error:
        raise IntegrityError(f"{what} is not valid JSON: {error.msg}") from error
    return value


class JsonObject:
    """Typed access to an object's fields. A default makes a field optional; `null` counts as left out, as in Go."""

    __slots__ = ("fields", "what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise IntegrityError(f"{what} is not a JSON object")
        self.fields: dict[str, JsonValue] = value
        self.what = what

    @classmethod
    def parse(cls, json: Buffer, what: str) -> JsonObject:
        """The object that the JSON text holds."""
        return cls(parse_json(json, what), what)

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self._get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def integer(self, name: str, default: int | None = None, *, least: int = 0, most: int = 2**63 - 1) -> int:
        """A whole number within bounds."""
        value = self._get(name, default)
        if type(value) is not int or not least <= value <= most:  # bool is an int to isinstance
            raise self._wrong(name, f"a whole number from {least} to {most}")
        return value

    def boolean(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def base64(self, name: str) -> bytes:
        """Bytes that were encoded as Go encodes `[]byte`: standard alphabet, padded."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError) as error:
            raise self._wrong(name, "base64") from error

    def unknown(self, known: Iterable[str]) -> dict[str, JsonValue]:
        """The fields that are none of `known`, in their order."""
        names = frozenset(known)
        return {name: value for name, value in self.fields.items() if name not in names}

    def _get(self, name: str, default: object | None) -> object:
        value = self.fields.get(name)
        if value is not None:
            return value
        if default is None:
            raise IntegrityError(f"{self.what} lacks the field {name!r}")
        return default

    def _wrong(self, name: str, expected: str) -> IntegrityError:
        # The value itself stays out of the message: a key file's fields are nobody's business.
        return IntegrityError(f"{self.what}: field {name!r} is not {expected}")


def encode_unknown(fields: Mapping[str, JsonValue]) -> bytes:
    """`,"name":value` for each field, to follow the known fields; values keep their meaning, not their spacing."""
    return b"".join(b",%b:%b" % (json_string(name), json_value(value)) for name, value in fields.items())

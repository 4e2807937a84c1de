"""JSON exactly as Go's `encoding/json` writes it, and file names as `strconv.Quote` puts them in a node.

Source: FORMAT.md, "JSON: ids depend on every byte". The code points that Quote leaves alone (Unicode 15.0)
are data in `go_printable_ranges.txt`: Python's own table depends on its version.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

from limpet.errors import IntegrityError

JsonValue: TypeAlias = bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None

_PLAIN_TEXT = re.compile(r"""[ !#-%'-;=?-\[\]-\x7f]*""")
_PLAIN_NAME = re.compile(rb"""[ !#-%'-;=?-\[\]-~]*""")
_MAX_CACHED = 4096

_SHORT_ESCAPES = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
_HTML_ESCAPED = frozenset((0x26, 0x3C, 0x3E, 0x2028, 0x2029))
_QUOTE_ESCAPES = _SHORT_ESCAPES | {0x07: "\\a", 0x0B: "\\v"}


def json_string(text: str | bytes) -> bytes:
    """The JSON string, with its quotes. Bytes are taken as UTF-8; each byte that is not valid becomes `\\ufffd`.

    A str may hold surrogate escapes for such bytes, as `os.fsdecode` makes them.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if _PLAIN_TEXT.fullmatch(text):
        return b'"%b"' % text.encode()
    return b'"%b"' % text.translate(_text_escapes).encode()


def quote_name(raw: bytes) -> bytes:
    """The JSON of a node's name: quoted by the rules of Go source, outer quotes dropped, and that as a JSON string."""
    if _PLAIN_NAME.fullmatch(raw):
        return b'"%b"' % raw
    return b'"%b"' % raw.decode("utf-8", "surrogateescape").translate(_name_escapes).encode()


def go_quoted(raw: bytes) -> str:
    """The bytes as Go's `%q` shows them, quotes and all."""
    return '"' + "".join(map(_quoted, map(ord, raw.decode("utf-8", "surrogateescape")))) + '"'


class _TextEscapes(dict[int, str]):
    """What JSON writes for a code point; for `str.translate`, filled as it is asked."""

    def __missing__(self, code: int) -> str:
        escaped = self.escape(code)
        if len(self) < _MAX_CACHED:
            self[code] = escaped
        return escaped

    def escape(self, code: int) -> str:
        if code in _SHORT_ESCAPES:
            return _SHORT_ESCAPES[code]
        if code < 0x20 or code in _HTML_ESCAPED:
            return f"\\u{code:04x}"
        return "\\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


class _NameEscapes(_TextEscapes):
    """What JSON writes for what Go's Quote writes for a code point; surrogates stand for invalid bytes."""

    def escape(self, code: int) -> str:
        return "".join(map(_text_escapes.__getitem__, map(ord, _quoted(code))))


_text_escapes = _TextEscapes()
_name_escapes = _NameEscapes()


def _quoted(code: int) -> str:
    if code in _QUOTE_ESCAPES:
        return _QUOTE_ESCAPES[code]
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    if code < 0x7F:
        return chr(code)
    if 0xD800 <= code < 0xE000:
        return f"\\x{code & 0xFF:02x}"
    if _is_printable(code):
        return chr(code)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_printable(code: int) -> bool:
    firsts, lasts = _printable_ranges()
    position = bisect_right(firsts, code) - 1
    return position >= 0 and code <= lasts[position]


@cache
def _printable_ranges() -> tuple[list[int], list[int]]:
    """First and last code points of the ranges, ascending. Loaded when the first name beyond ASCII needs it."""
    text = Path(__file__).with_name("go_printable_ranges.txt").read_text("ascii")
    pairs = [line.split() for line in text.splitlines()]
    return [int(first, 16) for first, _ in pairs], [int(last, 16) for _, last in pairs]


_ESCAPE = re.compile(
    rb'\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|([abfnrtv\\"]))|[\\"\n]'
)
_UNESCAPED = dict(zip(b'abfnrtv\\"', b'\a\b\f\n\r\t\v\\"', strict=True))


def unquote_name(text: str) -> bytes:
    """The raw name from a node's decoded `name`; IntegrityError for what Go's Unquote refuses."""
    try:
        raw = text.encode()
        if _ESCAPE.search(raw) is None:
            return raw
        return _ESCAPE.sub(_unescape, raw)
    except (UnicodeError, ValueError) as error:
        raise IntegrityError(f"a node's name is not properly quoted: {text[:80]!r}") from error


def _unescape(match: re.Match[bytes]) -> bytes:
    byte, short, long, octal, letter = match.groups()
    if byte:
        return bytes.fromhex(byte.decode())
    if short or long:
        return chr(int(short or long, 16)).encode()  # a surrogate is no rune: UnicodeEncodeError, as Go refuses it
    if octal:
        return bytes((int(octal, 8),))
    if letter:
        return bytes((_UNESCAPED[letter[0]],))
    raise ValueError("a quote, a newline or half an escape")


def json_value(value: JsonValue) -> bytes:
    """Any decoded JSON value, compact, members in their own order; IntegrityError if nested beyond all reason."""
    parts: list[bytes] = []
    try:
        _append_value(value, parts)
    except RecursionError as error:
        raise IntegrityError("JSON nested too deeply") from error
    return b"".join(parts)


def _append_value(value: JsonValue, parts: list[bytes]) -> None:
    if isinstance(value, str):
        parts.append(json_string(value))
    elif value is None or isinstance(value, bool):
        parts.append(b"null" if value is None else b"true" if value else b"false")
    elif isinstance(value, (int, float)):
        parts.append(repr(value).encode())
    elif isinstance(value, Mapping):
        separator = b"{"
        for key, member in value.items():
            parts += (separator, json_string(key), b":")
            _append_value(member, parts)
            separator = b","
        parts.append(b"}" if value else b"{}")
    else:
        separator = b"["
        for element in value:
            parts.append(separator)
            _append_value(element, parts)
            separator = b","
        parts.append(b"]" if value else b"[]")

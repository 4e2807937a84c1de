"""Numbers, times and names as people read them; the same notation as restic's."""

from __future__ import annotations

import re
import unicodedata

_UNSAFE = re.compile("[\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff]")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}


def format_bytes(size_bytes: int) -> str:
    """`512 B`, `1.500 KiB`, ... up to TiB, with three decimals."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size_bytes >= 1 << shift:
            return f"{size_bytes / (1 << shift):.3f} {unit}"
    return f"{size_bytes} B"


def format_percent(part: float, whole: float) -> str:
    """`12.34%`, at most 100; empty where the whole is zero."""
    return "" if not whole else f"{min(100.0, 100.0 * part / whole):3.2f}%"


def format_duration(seconds: float) -> str:
    """`M:SS`, or `H:MM:SS` from an hour on; fractions are cut."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def neutralise(text: str) -> str:
    """The text, safe to show on a terminal: quoted and escaped if anything in it is not printable."""
    if text.isascii() and text.isprintable():
        return text
    if not any(_is_unprintable(char) for char in text):
        return text
    return '"' + "".join(_escape(char) for char in text) + '"'


def neutralise_lines(text: str) -> str:
    """As `neutralise`, but line breaks and tabs stay: for whole messages that hold names."""
    return _UNSAFE.sub(lambda match: match[0] if match[0] in "\n\t" else _escape(match[0]), text)


def display_width(text: str) -> int:
    """How many cells of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _is_unprintable(char: str) -> bool:
    return char == "\ufffd" or (char != " " and not char.isprintable())


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char in '"\\':
        return "\\" + char
    if not _is_unprintable(char) or char == "\ufffd":
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not valid UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

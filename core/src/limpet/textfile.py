"""Lists that people keep in text files: any byte order mark honoured, one line an item."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
)

SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What Unicode calls white space. `str.strip()` alone would also take U+001C to U+001F."""


def decode_text(data: bytes) -> str:
    """The text of a file: UTF-16 where a byte order mark says so, else UTF-8.

    Bytes that are no UTF-8 become surrogates as in `os.fsdecode`, so that every file name survives.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
    return data.decode("utf-8", "surrogateescape")


def text_lines(data: bytes) -> list[str]:
    r"""The lines of a file without their `\n` or `\r\n`; a last line needs no end."""
    lines = decode_text(data).split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]

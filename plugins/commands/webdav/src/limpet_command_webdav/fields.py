"""Header fields, read strictly: nothing gets through that a proxy in front may have read in another way."""

from __future__ import annotations

import re
from typing import BinaryIO

from cheroot.server import HeaderReader

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*\r\n")
_DIGITS = re.compile(rb"[0-9]+")


class StrictFields(HeaderReader):
    """In place of cheroot's, which takes spaces before colons, folded lines, and the last of several lengths.

    Source: RFC 9112, sections 5 and 6.3.
    """

    def __call__(self, rfile: BinaryIO, hdict: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        """The fields up to the empty line, those of one name joined; ValueError with the reason for a status of 400."""
        fields = {} if hdict is None else hdict
        while (line := rfile.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
                raise ValueError("Malformed header field.")
            name, value = name.title(), value.strip()
            fields[name] = fields[name] + b", " + value if name in fields else value
        if not _DIGITS.fullmatch(fields.get(b"Content-Length", b"0")):
            raise ValueError("Malformed Content-Length field.")
        return fields

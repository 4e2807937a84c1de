"""Small text files that users write: a password, a repository's location. Byte order marks are understood."""

from __future__ import annotations

import codecs
from pathlib import Path

from limpet.errors import UsageError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
)


def read_text_file(path: str) -> str:
    """The text without a byte order mark and without surrounding white space; UsageError naming the file.

    Bytes that are not valid UTF-8 survive as surrogates.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist") from error
    except OSError as error:
        raise UsageError(f"unable to read {path}: {error.strerror}") from error
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace").strip()
    return data.decode("utf-8", "surrogateescape").strip()

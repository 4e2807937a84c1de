"""Small text files that users write: a password, a repository's location. Byte order marks are understood."""

from __future__ import annotations

from pathlib import Path

from limpet.errors import UsageError
from limpet.textfile import decode_text


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
    return decode_text(data).strip()

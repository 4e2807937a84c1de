"""JSON documents for programs, escaped as Go's `encoding/json` does: one line each."""

from __future__ import annotations

import json
import re

_HTML = re.compile("[<>&\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def encode_json(document: object, *, indent: int | None = None) -> str:
    """The document as JSON text without a line break at its end; what is not valid UTF-8 becomes U+FFFD."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(document, ensure_ascii=False, separators=separators, indent=indent)
    text = _HTML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return _SURROGATES.sub("\\\\ufffd", text)

"""Compares what two programs wrote, once all that must differ between two runs of one program is taken out."""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.parity.programs import Ended

_ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{8,12})\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?(?: [A-Z]{3,4})?")
_DURATIONS = (
    (re.compile(r"^(\s*)\[\d+:\d\d\]", re.MULTILINE), r"\1[<duration>]"),
    (re.compile(r"\bin \d+:\d\d\b"), "in <duration>"),
    (re.compile(r"\bin \d+\.\d{3}s"), "in <duration>"),
    (re.compile(r"took \d[\d.]*(?:µs|ms|s|m\d+s)"), "took <duration>"),
    (re.compile(r"\b[\d.hm]+(?:ns|µs|ms|s) ago"), "<duration> ago"),
    (re.compile(r"\bPID \d+"), "PID <pid>"),
    (re.compile(r"(?:restic|limpet) \d+\.\d+\.\d+\S*(?: \(restic [^)]+\))?"), "<program>"),
    (re.compile(r"compiled with \w+[\d.]+"), "compiled with <language>"),
)
_STORED = re.compile(r"\b\d+(?:\.\d+)? (?:[KMGT]i)?B +(stored|metadata)")
_SNAPSHOTS_DONE = re.compile(r"(\d+ / \d+ snapshots), .*")
"""What follows is of the snapshot that came last, and restic's come in random order."""
_SIZE = re.compile(r"\b\d+(?:\.\d+)? (?:[KMGT]i)?B\b")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SPACES = re.compile(r"(?<=\S) {2,}")
DURATION_KEYS = frozenset({"duration", "total_duration", "seconds_elapsed", "seconds_remaining"})
STORED_SIZE_KEYS = frozenset({"data_added_packed", "data_size_in_repo", "metadata_size_in_repo"})
STATUS = "status"


class Match(Enum):
    """How much of two outputs has to be the same."""

    WORDS = "every word and number in order"
    UNORDERED = "as SIZES, but the lines in any order: several threads write them"
    SIZES = "every word and number in order, but not sizes that depend on the compressor"
    DAMAGE = "as UNORDERED, but of standard error only the kinds of documents and what was fatal"
    SHAPE = "kinds of lines and messages, keys, types and nullness; no values"
    EXIT = "the exit code, and which of the two streams are used"


LENIENT = {Match.SIZES, Match.UNORDERED, Match.DAMAGE}


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Takes ids, times and places of one run out of what it wrote."""

    place: str
    known_ids: Collection[str]
    started: float = field(default_factory=time.time)

    def text(self, text: str) -> str:
        """The text without what differs from run to run."""
        text = text.replace(self.place, "<place>")
        text = _TIME.sub(self._time, text)
        for pattern, replacement in _DURATIONS:
            text = pattern.sub(replacement, text)
        return _ID.sub(self._id, _SNAPSHOTS_DONE.sub(r"\1, <of the last>", text))

    def value(self, value: Any, key: str = "") -> Any:
        """A JSON value without it; an object as pairs, so that the order of keys counts."""
        if isinstance(value, Mapping):
            return [(name, self.value(inner, name)) for name, inner in value.items()]
        if isinstance(value, list):
            return [self.value(inner, key) for inner in value]
        if key in DURATION_KEYS:
            return f"<{_type_name(value)}>"
        return self.text(value) if isinstance(value, str) else value

    def _id(self, match: re.Match[str]) -> str:
        known = any(name.startswith(match[0]) for name in self.known_ids)
        return match[0] if known else f"<id:{len(match[0])}>"

    @staticmethod
    def _time(match: re.Match[str]) -> str:
        """Times of this week are of the run; others were stored before."""
        day = match[0][:10]
        near = {time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400 * offset)) for offset in range(-7, 2)}
        return "<now>" if day in near else match[0]


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON document of an output; what is between them is text."""

    value: Any


def parts(text: str) -> list[Document | str]:
    """The JSON documents and the other lines of an output, in order."""
    found: list[Document | str] = []
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        if text[position] in "{[" and (position == 0 or text[position - 1] == "\n" or isinstance(found[-1], Document)):
            try:
                value, position = decoder.raw_decode(text, position)
                found.append(Document(value))
                position += text[position : position + 1] == "\n"
                continue
            except json.JSONDecodeError:
                pass
        end = text.find("\n", position) + 1 or len(text)
        found.append(text[position:end])
        position = end
    return found


def is_status(part: Document | str) -> bool:
    """Whether it is a message that comes at its own pace."""
    return isinstance(part, Document) and isinstance(part.value, dict) and part.value.get("message_type") == STATUS


def differences(restic: tuple[Ended, Normaliser], limpet: tuple[Ended, Normaliser], match: Match) -> str:
    """What differs, as a unified diff from restic to Limpet; empty where nothing does."""
    theirs, ours = (_rendered(ended, normaliser, match) for ended, normaliser in (restic, limpet))
    return "\n".join(difflib.unified_diff(theirs, ours, "restic", "limpet", lineterm="", n=2))


def _rendered(ended: Ended, normaliser: Normaliser, match: Match) -> list[str]:
    lines = [f"exit code {ended.exit_code}"]
    for name, text in (("stdout", ended.out), ("stderr", ended.err)):
        lines.append(f"--- {name}")
        if match is Match.EXIT:
            lines.append("something" if text else "nothing")
        elif match is Match.DAMAGE and name == "stderr":
            lines += _kinds(text, normaliser)
        else:
            lines += _stream(text, normaliser, match)
    return lines


def _kinds(text: str, normaliser: Normaliser) -> list[str]:
    """What kinds of documents there are; a text's last line if it is fatal."""
    found = parts(text)
    documents = {json.dumps(shape(part.value)) for part in found if isinstance(part, Document)}
    texts = [normaliser.text(part) for part in found if isinstance(part, str)]
    return sorted(documents) + [text for text in texts[-1:] if text.startswith("Fatal:")]


def _stream(text: str, normaliser: Normaliser, match: Match) -> list[str]:
    lines: list[str] = []
    for part in parts(text):
        if is_status(part):
            continue
        if isinstance(part, Document):
            lines += _document_lines(part.value, normaliser, match)
        else:
            lines.append(_text_line(normaliser.text(part), match))
    return sorted(lines) if match in {Match.UNORDERED, Match.DAMAGE} else lines


def _text_line(line: str, match: Match) -> str:
    line = line.rstrip("\n")
    if match in LENIENT:
        line = _STORED.sub("<size> \\1", line)
    if match is Match.SHAPE:
        line = _SPACES.sub(" ", _NUMBER.sub("<n>", _SIZE.sub("<size>", line)))
    return line


def _document_lines(value: Any, normaliser: Normaliser, match: Match) -> list[str]:
    """A document, one line a value; where order does not count, all on one line."""
    shown = shape(value) if match is Match.SHAPE else normaliser.value(value)
    if match in LENIENT:
        shown = _without_sizes(shown)
    if match in {Match.UNORDERED, Match.DAMAGE}:
        return [json.dumps(one) for one in (shown if isinstance(value, list) else [shown])]
    return json.dumps(shown, indent=1, ensure_ascii=False).splitlines()


def _without_sizes(shown: Any) -> Any:
    if isinstance(shown, list | tuple):
        if len(shown) == 2 and isinstance(shown[0], str) and shown[0] in STORED_SIZE_KEYS:
            return [shown[0], "<size>"]
        return [_without_sizes(inner) for inner in shown]
    return shown


def shape(value: Any) -> Any:
    """Keys and types; of a list what kinds of elements it has."""
    if isinstance(value, Mapping):
        return [(name, shape(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        kinds: list[Any] = []
        for inner in map(shape, value):
            if inner not in kinds:
                kinds.append(inner)
        return {"list of": kinds}
    return _type_name(value)


def _type_name(value: Any) -> str:
    """JSON's own words: 1 and 1.0 are both numbers."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int() | float():
            return "number"
    return "string"


def message_types(texts: Sequence[str]) -> list[str]:
    """The `message_type` of each document in the outputs, in order."""
    return [
        str(part.value.get("message_type"))
        for text in texts
        for part in parts(text)
        if isinstance(part, Document) and isinstance(part.value, dict)
    ]

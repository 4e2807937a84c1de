"""Patterns of paths with restic's meaning, compiled once into regular expressions.

The meaning is that of restic's exclude documentation (`doc/040_backup.rst`) and `internal/filter`:

- A pattern is split at `/`. Each part matches one whole path component: `*` any run of bytes, `?` one
  character, `[a-z]` and `[^a-z]` classes, `\\` the next character itself.
- A pattern that starts with `/` is matched from the root, any other from any component on. What follows the
  matched components does not matter: a pattern that matches a folder matches all that is in it.
- A part `**` stands for any number of components, none included.
- A pattern that starts with `!` takes back what earlier patterns of the list matched.

Paths and patterns are bytes inside, as in Go: one character is one valid UTF-8 sequence or one stray byte.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from limpet.errors import UsageError
from limpet.textfile import SPACE, text_lines

NameMatcher = Callable[[bytes], bool]

_UTF8 = (
    rb"[\x00-\x2e\x30-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_CHARACTER = rb"(?>" + _UTF8 + rb"|[^/])"
_STRAY_BYTE = rb"(?!" + _UTF8 + rb")[\x80-\xff]"
_STRAY_CODE = 0xFFFD  # a stray byte counts as this character in a class
_FOLDERS = rb"(?:[^/]+/)*"
_END = rb"(?=/|\Z)"
_ONE_CHARACTER = re.compile(_UTF8, re.DOTALL).match
_SPECIAL = re.compile(rb"[\\\[\]*?]")
_SHELL_NAME = re.compile(r"\$(?:\{([*#$@!?\-0-9])\}|\{([^}]*)\}|(\{)|([*#$@!?\-0-9])|([A-Za-z0-9_]+))")


class _PatternSyntaxError(ValueError):
    """A part that is no pattern; `Patterns` names it to the user."""


class Patterns:
    """A list of patterns, asked about many paths.

    Paths are clean: no empty component, no `/` at the end. `UsageError` names every invalid pattern, after
    `option` as the origin. Empty patterns are ignored. False in a boolean context if no pattern is left.
    """

    __slots__ = ("_has_negation", "_ignore_case", "_names", "_patterns", "_rest", "_whole_names")

    def __init__(self, patterns: Sequence[str], *, ignore_case: bool = False, option: str = "") -> None:
        self._ignore_case = ignore_case
        self._patterns = _compile_all(patterns, ignore_case, option)
        self._has_negation = any(pattern.negated for pattern in self._patterns)
        names = [pattern.parts[0] for pattern in self._patterns if pattern.is_name]
        self._names = frozenset(part.literal for part in names if part is not None and part.literal is not None)
        globs = [part.regex for part in names if part is not None and part.literal is None]
        self._whole_names = _fullmatch(globs) if globs else None
        self._rest = tuple(pattern for pattern in self._patterns if not pattern.is_name)

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def matches(self, path: bytes) -> bool:
        """Whether the list selects `path`."""
        if self._ignore_case:
            path = fold_case(path)
        if not self._has_negation:
            return any(pattern.matches(path) for pattern in self._patterns)
        matched = False
        for pattern in self._patterns:
            if pattern.negated == matched and pattern.matches(path):
                matched = not matched
        return matched

    def matches_or_leads(self, path: bytes) -> tuple[bool, bool]:
        """Whether the list selects `path`, and whether it may select something below it."""
        if self._ignore_case:
            path = fold_case(path)
        matched = leads = False
        for pattern in self._patterns:
            hit = pattern.matches(path)
            if pattern.negated:
                matched, leads = matched and not hit, leads and not hit
            else:
                matched, leads = matched or hit, leads or pattern.leads(path)
        return matched, leads

    def within(self, folder: bytes) -> NameMatcher | None:
        """A quick `matches` for the names in `folder` (absolute); None where it could never be true.

        Names are matched alone where a pattern is only a name, which is what makes it quick.
        """
        if not self._patterns:
            return None
        prefix = folder if folder.endswith(b"/") else folder + b"/"
        if self._has_negation:
            return lambda name: self.matches(prefix + name)
        if self.matches(folder):
            return _always
        if self._ignore_case:
            prefix = fold_case(prefix)
        matcher = self._matcher_within(prefix)
        if matcher is None or not self._ignore_case:
            return matcher
        return lambda name: matcher(fold_case(name))

    def _matcher_within(self, prefix: bytes) -> NameMatcher | None:
        """`folder` itself is not matched, so a pattern that is only a name can only match the name."""
        literals, names = self._names, self._whole_names
        paths = tuple(pattern.matches for pattern in self._rest if pattern.leads(prefix[:-1] or b"/"))
        if not paths:
            if names is None:
                return literals.__contains__ if literals else None
            return lambda name: name in literals or names(name) is not None

        def matches(name: bytes) -> bool:
            if name in literals or (names is not None and names(name) is not None):
                return True
            path = prefix + name
            return any(match(path) for match in paths)

        return matches


def compile_name(glob: bytes) -> NameMatcher:
    """Whether a name, one path component, matches the glob as a whole. UsageError if it is no pattern."""
    try:
        regex = re.compile(_parse_part(glob).regex, re.DOTALL)
    except _PatternSyntaxError as error:
        raise UsageError(f"invalid pattern: {os.fsdecode(glob)!r}") from error
    return lambda name: regex.fullmatch(name) is not None


def pattern_lines(data: bytes, environment: Mapping[str, str]) -> list[str]:
    """The patterns of an exclude or include file's bytes.

    Lines are stripped; empty ones and those that start with `#` are left out; `$NAME` and `${NAME}` are
    replaced, by nothing where `environment` has no such name; `$$` is a dollar sign.
    """
    lines = (line.strip(SPACE) for line in text_lines(data))
    return [expand_environment(line, environment) for line in lines if line and not line.startswith("#")]


def expand_environment(text: str, environment: Mapping[str, str]) -> str:
    """`text` with `$NAME` and `${NAME}` replaced as Go's `os.Expand` does, and `$$` by a dollar sign."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2] or match[4] or match[5]
        if not name:  # "${}" and an unclosed "${" are dropped
            return ""
        return "$" if name == "$" else environment.get(name, "")

    return _SHELL_NAME.sub(value, text)


def fold_case(path: bytes) -> bytes:
    """`path` in lower case, character by character; stray bytes become U+FFFD, as restic compares them."""
    if path.isascii():
        return path.lower()
    return "".join(map(_lower, path.decode("utf-8", "surrogateescape"))).encode()


@lru_cache(maxsize=1024)
def _lower(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    return character.lower()[0]  # one character stays one: only U+0130 has two, and its first is the simple mapping


def _always(_name: bytes) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class _Part:
    """What one path component must look like; `literal` where it is just a name."""

    regex: bytes
    literal: bytes | None

    def matches(self, name: bytes) -> bool:
        return re.fullmatch(self.regex, name, re.DOTALL) is not None


class _Pattern:
    """One compiled pattern. `parts` leaves the root out and has None for `**`."""

    __slots__ = ("_exact", "_lead", "_match", "_rooted", "negated", "parts")

    def __init__(self, text: bytes) -> None:
        self.negated = text.startswith(b"!")
        path = _clean(text[1:] if self.negated else text)
        self._rooted = path.startswith(b"/")
        components = (path[1:] if self._rooted else path).split(b"/")
        # An empty component is only there in the pattern "/", and means "**": everything.
        self.parts = tuple(None if name in {b"", b"**"} else _parse_part(name) for name in components)
        self._match = re.compile(self._whole_regex(), re.DOTALL).match
        self._lead = re.compile(self._lead_regex(), re.DOTALL).fullmatch if self._rooted else None
        self._exact = self.parts.count(None) > 1

    @property
    def is_name(self) -> bool:
        """Whether it is matched by a component alone, wherever that is."""
        return not self._rooted and len(self.parts) == 1 and self.parts[0] is not None

    def matches(self, path: bytes) -> bool:
        if self._match(path) is None:
            return False
        return not self._exact or self._matches_exactly(path)

    def leads(self, path: bytes) -> bool:
        """Whether something below `path` may be matched."""
        return self._lead is None or path == b"/" or self._lead(path) is not None

    def _whole_regex(self) -> bytes:
        if not any(self.parts) and not self._rooted:
            return rb"/?+[^/]*" + _END  # "**" alone wants one component at least
        parts = list(self.parts)
        while parts and parts[-1] is None:
            parts.pop()  # what follows the matched components does not matter anyway
        body = b"".join(_FOLDERS if part is None else part.regex + b"/" for part in parts)
        if parts:
            body = body[:-1] + _END
        return (b"/" if self._rooted else rb"/?+(?:[^/]+/)*?") + body

    def _lead_regex(self) -> bytes:
        """The path agrees with the pattern as far as both go, up to the first `**`."""
        fixed = self.parts[: self.parts.index(None)] if None in self.parts else self.parts
        regex = b"(?:/.*)?"
        for part in reversed(fixed):
            assert part is not None
            regex = b"(?:/" + part.regex + regex + b")?"
        return regex

    def _matches_exactly(self, path: bytes) -> bool:
        """Where there are several `**`: restic expands them in order and counts each later one as a component.

        So `/a/**/b/**` matches `/a/x/b/c` but not `/a/x/b`, and the length of the whole path plays a part.
        """
        is_absolute = path.startswith(b"/")
        names = path[is_absolute:].split(b"/")
        for start in (0,) if self._rooted else range(len(names)):
            # How many components more than parts there may be, as restic counts.
            room = len(names) + is_absolute - self._rooted - len(self.parts) + 1
            if self._expands(names, 0, start, room, set()):
                return True
        return False

    def _expands(self, names: list[bytes], part: int, name: int, room: int, dead: set[tuple[int, int, int]]) -> bool:
        """Whether the parts from `part` on match the names from `name` on; `room` is what the next `**` may take."""
        if part == len(self.parts):
            return True
        if (part, name, room) in dead:
            return False
        expected = self.parts[part]
        if expected is not None:
            found = (
                name < len(names)
                and expected.matches(names[name])
                and self._expands(names, part + 1, name + 1, room, dead)
            )
        else:
            most = min(room, len(names) - name)
            found = any(self._expands(names, part + 1, name + i, room - i + 1, dead) for i in range(most + 1))
        if not found:
            dead.add((part, name, room))
        return found


def _compile_all(patterns: Sequence[str], ignore_case: bool, option: str) -> tuple[_Pattern, ...]:
    compiled, invalid = [], []
    for text in patterns:
        raw = os.fsencode(text)
        if not raw:
            continue
        try:
            compiled.append(_Pattern(fold_case(raw) if ignore_case else raw))
        except _PatternSyntaxError:
            invalid.append(text)
    if invalid:
        origin = f"{option}: " if option else ""
        raise UsageError(
            f"{origin}invalid pattern(s): {', '.join(map(repr, invalid))} (write \\[ for a literal bracket)"
        )
    return tuple(compiled)


def _clean(path: bytes) -> bytes:
    clean = posixpath.normpath(path)
    return clean[1:] if clean.startswith(b"//") else clean


def _fullmatch(regexes: Sequence[bytes]) -> Callable[[bytes], re.Match[bytes] | None]:
    return re.compile(b"|".join(b"(?:" + regex + b")" for regex in regexes), re.DOTALL).fullmatch


def _parse_part(part: bytes) -> _Part:
    """The regular expression of one component, as Go's `filepath.Match` reads it."""
    if _SPECIAL.search(part) is None:
        return _Part(re.escape(part), part)
    chunks = [b""]
    position = 0
    while position < len(part):
        token = part[position : position + 1]
        position += 1
        if token == b"*":
            chunks.append(b"")
        elif token == b"?":
            chunks[-1] += _CHARACTER
        elif token == b"[":
            regex, position = _parse_class(part, position)
            chunks[-1] += regex
        elif token == b"\\":
            if position == len(part):
                raise _PatternSyntaxError
            chunks[-1] += re.escape(part[position : position + 1])
            position += 1
        else:
            chunks[-1] += re.escape(token)
    return _Part(_join_at_stars(chunks), None)


def _join_at_stars(chunks: Sequence[bytes]) -> bytes:
    """All but the last star take the first fit and never come back, which keeps many stars linear."""
    first, *others = chunks
    if not others:
        return first
    middle = b"".join(rb"(?>[^/]*?" + chunk + b")" for chunk in others[:-1] if chunk)
    return first + middle + rb"[^/]*" + others[-1]


def _parse_class(part: bytes, position: int) -> tuple[bytes, int]:
    """The class that starts after `[` at `position`, and where the part goes on."""
    negated = part[position : position + 1] == b"^"
    position += negated
    choices: list[bytes] = []
    while not choices or part[position : position + 1] != b"]":
        low, position = _parse_class_character(part, position)
        high = low
        if part[position : position + 1] == b"-":
            high, position = _parse_class_character(part, position + 1)
        choices.extend(_code_range(low, high))
        choices.extend([_STRAY_BYTE] if low <= _STRAY_CODE <= high else [])
        if not choices:
            choices.append(rb"(?!)")  # a range from high to low holds nothing, yet the class is well formed
    alternatives = b"|".join(choices)
    if negated:
        return b"(?!" + alternatives + b")" + _CHARACTER, position + 1
    return b"(?!/)(?>" + alternatives + b")", position + 1


def _parse_class_character(part: bytes, position: int) -> tuple[int, int]:
    token = part[position : position + 1]
    if token in {b"", b"-", b"]"}:
        raise _PatternSyntaxError
    if token == b"\\":
        position += 1
    match = _ONE_CHARACTER(part, position)
    if match is None or match.end() == len(part):  # the class must still be closed
        raise _PatternSyntaxError
    return ord(match[0].decode()), match.end()


def _code_range(low: int, high: int) -> Iterator[bytes]:
    """Regular expressions for the UTF-8 of all characters from `low` to `high`, as RE2 cuts them up."""
    if low > high:
        return
    for last in (0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF):
        if low <= last < high:
            yield from _code_range(low, last)
            yield from _code_range(last + 1, high)
            return
    if 0xD800 <= low <= 0xDFFF:
        return  # surrogates have no UTF-8
    yield from _cut_at_bytes(low, high)


def _cut_at_bytes(low: int, high: int) -> Iterator[bytes]:
    """`low` and `high` have UTF-8 of the same length; in each range yielded every byte varies by itself."""
    length = len(chr(low).encode())
    for tail in range(1, length):
        mask = (1 << 6 * tail) - 1
        if low & ~mask == high & ~mask:
            continue
        if low & mask:
            yield from _cut_at_bytes(low, low | mask)
            yield from _cut_at_bytes((low | mask) + 1, high)
            return
        if high & mask != mask:
            yield from _cut_at_bytes(low, (high & ~mask) - 1)
            yield from _cut_at_bytes(high & ~mask, high)
            return
    pairs = zip(chr(low).encode(), chr(high).encode(), strict=True)
    yield b"".join(b"[\\x%02x-\\x%02x]" % pair for pair in pairs)

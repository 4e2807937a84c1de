"""Documentation pages read: fenced blocks with their lines, commands with the output shown, links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

FENCE = "```"
PREPARE, PREPARED = "<!-- prepare", "-->"
"""Around commands that a reader does not see: they make what the reader of this page has."""
PROMPT, CONTINUED = "$ ", "> "
_HEADING = re.compile(r"#{1,6} +(.+?)\s*")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`]*`")
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: `language` and the words behind it, the number of its first line of text, the text."""

    language: str
    words: Sequence[str]
    line: int
    text: str


@dataclass(slots=True)
class Command:
    """What a reader types, and the lines that are shown as its answer."""

    text: str
    line: int
    output: list[str] = field(default_factory=list)

    @property
    def asks_exit_code(self) -> bool:
        """Whether it shows how the command before it ended."""
        return self.text == "echo $?"


def blocks(page: Path) -> list[Block]:
    """Every fenced block of the page; AssertionError for one that is not closed."""
    found: list[Block] = []
    language, words, begin, lines = "", list[str](), 0, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if begin and line == (PREPARED if language == PREPARE else FENCE):
            shown_as = "sh" if language == PREPARE else language
            found.append(Block(shown_as, tuple(words), begin, "\n".join(lines) + "\n"))
            begin = 0
        elif not begin and line == PREPARE:
            language, words, begin, lines = PREPARE, [], number + 1, []
        elif not begin and line.startswith(FENCE):
            language, *words = line.removeprefix(FENCE).split() or [""]
            begin, lines = number + 1, []
        else:
            lines.append(line)
    assert not begin, f"{page}:{begin - 1}: this block has no end"
    return found


def session_commands(block: Block) -> list[Command]:
    """The commands of a `console` block, each with the lines shown below it."""
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith(PROMPT):
            found.append(Command(line.removeprefix(PROMPT), number))
        elif line.startswith(CONTINUED) and found and not found[-1].output:
            found[-1].text += "\n" + line.removeprefix(CONTINUED)
        else:
            assert found, f"line {number}: a console block begins with a command"
            found[-1].output.append(line)
    return found


def script_commands(block: Block) -> list[Command]:
    """The commands of an `sh` block: its lines, joined where one ends with a backslash."""
    found: list[Command] = []
    goes_on = False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if goes_on:
            found[-1].text += "\n" + line
        elif line and not line.startswith("#"):
            found.append(Command(line, number))
        goes_on = line.endswith("\\")
    return found


def links(page: Path) -> Iterator[str]:
    """The targets of all links outside of code."""
    for line in prose(page):
        yield from _LINK.findall(_CODE.sub("", line))


def anchors(page: Path) -> set[str]:
    """The names of the page's headings in links, as GitHub makes them."""
    headings = (match[1] for line in prose(page) if (match := _HEADING.fullmatch(line)))
    return {_NOT_IN_ANCHORS.sub("", heading.lower()).replace(" ", "-") for heading in headings}


def prose(page: Path) -> Iterator[str]:
    """The lines outside of fenced blocks."""
    inside = False
    for line in page.read_text().splitlines():
        if line.startswith(FENCE):
            inside = not inside
        elif not inside:
            yield line


def broken_links(page: Path) -> list[str]:
    """Relative links of the page that lead to no file, or to no heading of it."""
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / unquote(name) if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    return broken

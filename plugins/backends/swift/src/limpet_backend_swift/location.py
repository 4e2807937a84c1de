"""restic's location of a repository in Swift."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from limpet.contracts.layout import Layout
from limpet.errors import UsageError


@dataclass(frozen=True, slots=True)
class SwiftLocation(Layout):
    """A container and the repository's objects in it: below the prefix, or in the container itself."""

    container: str

    def __str__(self) -> str:
        return f"swift:{self.container}:/{self.prefix}"


def parse_location(text: str) -> SwiftLocation:
    """`CONTAINER:/PREFIX`, the prefix may be empty; UsageError for anything else."""
    container, _, path = text.partition(":")
    if not container or "/" in container or "\0" in text:
        raise UsageError(f"not a place in Swift: {text!r}; give one as in swift:CONTAINER:/PATH")
    if not path.startswith("/"):
        raise UsageError(f"the path in swift:{text} must start with a slash: give it as in swift:CONTAINER:/PATH")
    if container in {".", ".."} or _clean(path[1:]).split("/", 1)[0] == "..":  # requests would follow it
        raise UsageError(f"swift:{text} leads out of the container; give it as in swift:CONTAINER:/PATH")
    return SwiftLocation(_clean(path[1:]), container)


def _clean(path: str) -> str:
    """The shortest form of the path, as Go's `path.Join` gives it to restic."""
    cleaned = posixpath.normpath(path)
    return "" if cleaned == "." else cleaned[1:] if cleaned.startswith("//") else cleaned

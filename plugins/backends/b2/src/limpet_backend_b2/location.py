"""`b2:bucket:prefix`: restic's location of a repository in B2."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from limpet.contracts.layout import Layout
from limpet.errors import UsageError

SHORTEST_BUCKET, LONGEST_BUCKET = 6, 63

_BUCKET = re.compile(r"[a-zA-Z0-9-]+")


@dataclass(frozen=True, slots=True)
class Place(Layout):
    """A bucket and the repository's files in it: below the prefix, or in the bucket itself."""

    bucket: str

    def __str__(self) -> str:
        return f"b2:{self.bucket}:{self.prefix}"


def parse_location(text: str) -> Place:
    """The place that `bucket:prefix` or `bucket` names; UsageError saying what is wrong with it."""
    bucket, _, prefix = text.partition(":")
    shape = "a location in B2 is b2:BUCKET:PATH"
    if not bucket:
        raise UsageError(f"the location names no bucket; {shape}")
    if "/" in bucket:
        raise UsageError(f"the bucket's name {bucket!r} has a slash in it; {shape}, with a second colon")
    if not _BUCKET.fullmatch(bucket) or not SHORTEST_BUCKET <= len(bucket) <= LONGEST_BUCKET:
        raise UsageError(
            f"no bucket of B2 can be called {bucket!r}: its name has {SHORTEST_BUCKET} to {LONGEST_BUCKET} characters,"
            " which are letters, digits and dashes"
        )
    prefix = posixpath.normpath(prefix).lstrip("/") if prefix else ""
    prefix = "" if prefix == "." else prefix
    if any(ord(character) < 32 or character in "\\\x7f" for character in prefix) or prefix.split("/", 1)[0] == "..":
        raise UsageError(f"no file of B2 can be called {prefix!r}; {shape}")
    return Place(prefix, bucket)

"""Where a repository is: `bucket:/prefix`."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from limpet.contracts.layout import Layout
from limpet.errors import UsageError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Place(Layout):
    """A bucket and the repository's files in it: below the prefix, or in the bucket itself."""

    bucket: str

    def __str__(self) -> str:
        return f"gs:{self.bucket}:/{self.prefix}"


def parse_place(location: str) -> Place:
    """The place that `BUCKET:/PREFIX` names; UsageError for anything else."""
    bucket, colon, folder = location.partition(":")
    if not colon:
        raise UsageError(f"not a place in Google Cloud Storage: gs:{location}; it is written gs:BUCKET:/PREFIX")
    if _BUCKET.fullmatch(bucket) is None:
        raise UsageError(
            f"not the name of a bucket: {bucket!r}; it has 3 and more lower-case letters, digits, dashes and dots"
        )
    folder = posixpath.normpath(folder or ".").strip("/")
    return Place("" if folder == "." else folder, bucket)

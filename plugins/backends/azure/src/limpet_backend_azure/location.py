"""Where a repository is: `container:/prefix`."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from limpet.contracts.layout import Layout
from limpet.errors import UsageError

_CONTAINER = re.compile(r"\$root|\$web|\$logs|[a-z0-9](?:-?[a-z0-9]){2,62}")


@dataclass(frozen=True, slots=True)
class Place(Layout):
    """A container and the repository's files in it: below the prefix, or in the container itself."""

    container: str

    def __str__(self) -> str:
        return f"azure:{self.container}:/{self.prefix}"


def parse_place(location: str) -> Place:
    """The place that `CONTAINER:/PREFIX` names; UsageError for anything else."""
    container, colon, folder = location.partition(":")
    if not colon:
        raise UsageError(f"not a place in Azure: azure:{location}; it is written azure:CONTAINER:/PREFIX")
    if _CONTAINER.fullmatch(container) is None:
        raise UsageError(
            f"not the name of a container: {container!r}; it has 3 to 63 lower-case letters, digits and single dashes"
        )
    folder = posixpath.normpath(folder or ".").strip("/")
    if folder.split("/", 1)[0] == "..":  # urllib3 would follow it
        raise UsageError(f"azure:{location} leads out of the container; it is written azure:CONTAINER:/PREFIX")
    return Place("" if folder == "." else folder, container)

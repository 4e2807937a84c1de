"""`PROVIDER:CONTAINER/PREFIX`: where a repository is."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from limpet.contracts.layout import Layout
from limpet.errors import UsageError

_FORM = "libcloud:PROVIDER:CONTAINER/PREFIX"


@dataclass(frozen=True, slots=True)
class LibcloudLocation(Layout):
    """A provider by libcloud's name, a container there, and the repository's objects in it."""

    provider: str
    container: str

    def __str__(self) -> str:
        return f"libcloud:{self.provider}:{self.container}" + (f"/{self.prefix}" if self.prefix else "")


def parse_location(text: str) -> LibcloudLocation:
    """The parts of the location; UsageError where one is missing."""
    provider, colon, place = text.partition(":")
    container, _, prefix = place.partition("/")
    if not provider or not colon or not container or "\0" in text:
        raise UsageError(f"not a place for libcloud: {text!r}; give one as in {_FORM}")
    prefix = posixpath.normpath(prefix).strip("/") if prefix else ""
    if container in {".", ".."} or prefix.split("/", 1)[0] == "..":  # requests would follow it
        raise UsageError(f"the prefix of {text!r} leads out of the container; give one as in {_FORM}")
    return LibcloudLocation("" if prefix == "." else prefix, provider, container)

"""Where each snapshot is shown: restic's path and time templates.

Source: `restic mount --help` for the templates; how restic 0.19 treats tags and collisions was tried out with it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from limpet.errors import UsageError
from limpet.operations.browse.gotime import format_go_time
from limpet.repository.snapshots import StoredSnapshot

PATH_TEMPLATES = ("ids/%i", "snapshots/%T", "hosts/%h/%T", "tags/%t/%T")
TIME_TEMPLATE = "2006-01-02T15:04:05Z07:00"
LATEST = "latest"
_CODES = "iIuhtT"


@dataclass(frozen=True, slots=True)
class Layout:
    """The templates by which snapshots get their paths; UsageError for a time template that cannot be."""

    path_templates: Sequence[str] = PATH_TEMPLATES
    time_template: str = TIME_TEMPLATE

    def __post_init__(self) -> None:
        if not self.time_template:
            raise UsageError("time template string cannot be empty")
        if self.time_template.startswith("/") or self.time_template.endswith("/"):
            raise UsageError("time template string cannot start or end with '/'")

    def fixed_folders(self) -> list[str]:
        """The folders that are there even without a snapshot."""
        folders = [_fixed_folder(template) for template in self.path_templates]
        return [folder for folder in folders if folder != "/"]

    def places(self, snapshots: Sequence[StoredSnapshot]) -> Iterator[Place]:
        """Where each snapshot is, with the `latest` links. The snapshots come oldest first."""
        taken: set[str] = set()
        for folder in ("/", *self.fixed_folders()):
            taken.update(_with_parents(folder))
        latest_ns: dict[str, int] = {}
        for stored in snapshots:
            for template in self.path_templates:
                prefixes, suffix = self._paths(template, stored)
                for prefix in prefixes:
                    name = _free_name(taken, prefix, suffix)
                    path = _clean(prefix + name)
                    taken.update(_with_parents(path))
                    yield Place(path, stored)
                    if suffix and stored.time_ns >= latest_ns.get(prefix, stored.time_ns):
                        latest_ns[prefix] = stored.time_ns
                        path = _clean(f"{prefix}/{LATEST}")
                        taken.update(_with_parents(path))
                        yield Place(path, stored, name)

    def _paths(self, template: str, stored: StoredSnapshot) -> tuple[list[str], str]:
        """The paths of the snapshot by one template, without the time if it comes last, and the time if so.

        None for a snapshot without tags where the template wants one.
        """
        snapshot = stored.snapshot
        time = format_go_time(snapshot.time, self.time_template)
        ends_with_time = False
        out = [""]
        for piece in _pieces(template):
            if ends_with_time:
                out = [path + time for path in out]
                ends_with_time = False
            match piece:
                case "%T":
                    ends_with_time = True
                    continue
                case "%t":
                    tags = snapshot.tags
                    # restic cleans up tags only where there are several.
                    names = tags if len(tags) == 1 else [_tag_name(tag) for tag in tags]
                    out = [path + name for name in names for path in out]
                    continue
                case "%i":
                    text = stored.id.hex()[:8]
                case "%I":
                    text = stored.id.hex()
                case "%u":
                    text = snapshot.username
                case "%h":
                    text = snapshot.hostname
                case _:
                    text = piece.removeprefix("%") if len(piece) > 1 else piece
            out = [path + text for path in out]
        return ["/" + path for path in out], time if ends_with_time else ""


@dataclass(frozen=True, slots=True)
class Place:
    """A snapshot's path, absolute and clean; with a `link_target` the path is a link to where it is."""

    path: str
    stored: StoredSnapshot
    link_target: str = ""


def _pieces(template: str) -> Iterator[str]:
    """Single characters, and codes of a percent sign and one character; a percent sign at the end is dropped."""
    characters = iter(template)
    for character in characters:
        if character != "%":
            yield character
        elif following := next(characters, ""):
            yield "%" + following


def _fixed_folder(template: str) -> str:
    """The folder that the template names before its first code; the root for one without any code.

    As in restic, what is no code is taken as it is written there.
    """
    length = 0
    for piece in _pieces(template):
        if len(piece) > 1 and piece[1] in _CODES:
            return _clean("/" + template[:length].rpartition("/")[0])
        length += len(piece)
    return "/"


def _tag_name(tag: str) -> str:
    """The tag as a name of a folder."""
    return {"": "_", ".": "_", "..": "__"}.get(tag, tag.replace("/", "_"))


def _free_name(taken: set[str], prefix: str, name: str) -> str:
    """The name, with a number where something has its path already."""
    if prefix + name not in taken:
        return name
    return next(free for number in count(1) if prefix + (free := f"{name}-{number}") not in taken)


def _with_parents(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = posixpath.dirname(path)
    yield path


def _clean(path: str) -> str:
    """Without empty parts, `.` and `..`; nothing is above the root."""
    return "/" + posixpath.normpath(path).lstrip("/")

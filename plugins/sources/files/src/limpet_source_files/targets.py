"""Where the arguments end up in the snapshot: restic's tree of targets (`internal/archiver/tree.go`).

An absolute path keeps its place, a relative one starts at the root without its `..`. Two relative paths of the same
name from different folders get `-1`, `-2`, ... A target inside another one splits the outer into its entries.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from limpet import filesystem
from limpet.errors import SourceError


@dataclass(frozen=True, slots=True)
class WorkingFolder:
    """Where relative paths start: as the kernel sees it, and as `$PWD` shows it where that is the same folder."""

    real: bytes
    shown: bytes

    @classmethod
    def current(cls) -> WorkingFolder:
        """That of this process. SourceError if it is gone."""
        try:
            real = os.getcwdb()
        except FileNotFoundError as error:
            raise SourceError("the current folder does not exist any more: change into another") from error
        shown = os.fsencode(os.environ.get("PWD", ""))
        with suppress(OSError):
            if shown.startswith(b"/") and os.path.samestat(os.stat(shown), os.stat(real)):
                return cls(real, clean(shown))
        return cls(real, real)

    def locate(self, target: bytes) -> Location:
        """Both absolute paths of a clean target."""
        real = clean(posixpath.join(self.real, target))
        return Location(real, real if self.shown == self.real else clean(posixpath.join(self.shown, target)))


@dataclass(frozen=True, slots=True)
class Location:
    """An absolute path twice: to open, and as people and patterns know it. They differ below a symlinked `$PWD`."""

    real: bytes
    shown: bytes

    def below(self, name: bytes) -> Location:
        """The location of a name in this folder."""
        real = join(self.real, name)
        return Location(real, real if self.shown is self.real else join(self.shown, name))


@dataclass(slots=True)
class Place:
    """A place in the snapshot: a target if `target` is set, else a folder above targets."""

    places: dict[bytes, Place] = field(default_factory=dict)
    target: bytes | None = None
    folder: bytes | None = None
    """Clean path of the folder that lends a place above targets its metadata."""
    origin: bytes = b""
    """Folder that the first component was found in; tells apart what only has the same name."""
    is_explicit: bool = False
    """Asked for by name: excludes do not apply to the target itself."""


Opened = Callable[[bytes], bytes]
"""Where a target is opened: it may be read from a frozen copy."""


def plan(targets: Sequence[bytes], opened: Opened) -> Place:
    """The snapshot's root for the arguments. SourceError if a folder that must be split cannot be read.

    A target without a name, such as `/`, `.` or `..`, is replaced by its entries.
    """
    root = Place()
    seen: set[bytes] = set()
    for target, is_explicit in _named(targets, opened):
        if target not in seen:
            seen.add(target)
            _add(root, target, is_explicit)
    _split(root, opened)
    return root


def leaves(root: Place) -> Iterator[tuple[bytes, Place]]:
    """Every target with its path in the snapshot, in the order of a walk through the snapshot."""
    waiting = [(b"/", root)]
    while waiting:
        path, place = waiting.pop()
        if place.target is not None:
            yield path, place
        waiting.extend((join(path, name), place.places[name]) for name in sorted(place.places, reverse=True))


def find(root: Place, path: bytes) -> Place | None:
    """The place of a path in the snapshot."""
    place: Place | None = root
    for name in components(path):
        place = place.places.get(name) if place is not None else None
    return place


def clean(path: bytes) -> bytes:
    """`path` without empty, `.` and inner `..` components, as Go's `filepath.Clean`; only the root ends in `/`."""
    short = posixpath.normpath(path)
    return short[1:] if short.startswith(b"//") else short


def components(target: bytes) -> list[bytes]:
    """The components of a clean target in the snapshot: leading `..` lead nowhere."""
    return [name for name in clean(b"/" + target).split(b"/") if name]


def is_within(path: bytes, folder: bytes) -> bool:
    """Whether a clean absolute path is the folder or in it."""
    return folder in {path, b"/"} or path.startswith(folder + b"/")


def join(folder: bytes, name: bytes) -> bytes:
    """The path of a name in an absolute folder."""
    return folder + name if folder == b"/" else folder + b"/" + name


def _named(targets: Sequence[bytes], opened: Opened) -> Iterator[tuple[bytes, bool]]:
    for target in map(clean, targets):
        if components(target):
            yield target, True
        else:
            for name in _names(target, opened):
                yield clean(posixpath.join(target, name)), False


def _names(folder: bytes, opened: Opened) -> list[bytes]:
    try:
        fd = filesystem.open_folder(opened(folder))
        try:
            return sorted(map(os.fsencode, os.listdir(fd)))
        finally:
            os.close(fd)
    except OSError as error:
        raise SourceError(f"{os.fsdecode(folder)}: cannot be read: {error.strerror}") from error


def _add(root: Place, target: bytes, is_explicit: bool) -> None:
    name, *rest = components(target)
    origin = _origin(target)
    unique, count = name, 0
    while unique in root.places and root.places[unique].origin != origin:
        count += 1
        unique = b"%b-%d" % (name, count)
    place = root.places.setdefault(unique, Place(origin=origin))
    folder = posixpath.join(origin, name)
    for name in rest:
        place.folder = folder
        place = place.places.setdefault(name, Place())
        folder = posixpath.join(folder, name)
    place.target, place.is_explicit = target, is_explicit


def _origin(target: bytes) -> bytes:
    if target.startswith(b"/"):
        return b"/"
    leading = [name for name in target.split(b"/") if name == b".."]
    return b"/".join(leading) or b"."


def _split(root: Place, opened: Opened) -> None:
    """Replace every target that has others inside by its entries."""
    waiting = [root]
    while waiting:
        place = waiting.pop()
        if place.target is not None and place.places:
            for name in _names(place.target, opened):
                inner = place.places.setdefault(name, Place())
                if inner.target is None:
                    inner.target = posixpath.join(place.target, name)
            place.target, place.is_explicit = None, False
        waiting.extend(place.places.values())

"""Equal results of many snapshots as one: each version of a file once, with the snapshots that hold it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import orjson

from limpet.format.fields import Fields
from limpet.operations.find.names import Match
from limpet.repository.snapshots import StoredSnapshot

_CONTENT = {"content", "subtree"}
_PASSING = {"atime", "ctime", "inode", "device_id", "links"} | _CONTENT
"""What differs between copies of one version, and what is compared but not kept."""


@dataclass(slots=True)
class Version:
    """What a path was in some snapshots. `fields` is its node in the first of them, without its content."""

    path: bytes
    fields: Fields
    snapshots: list[StoredSnapshot] = field(default_factory=list)


def group_versions(matches: Iterable[Match]) -> list[Version]:
    """Each version of each path once, by path, its versions in the order of the first snapshots that hold them.

    Two entries are one version if content, type, size, time of modification, mode, owner and attributes are the same;
    what is in a folder does not count for the folder.
    """
    versions: dict[bytes, dict[bytes, Version]] = {}
    for match in matches:
        of_path = versions.setdefault(match.path, {})
        key = _digest(match.fields)
        version = of_path.get(key)
        if version is None:
            kept = {name: value for name, value in match.fields.items() if name not in _CONTENT}
            version = of_path[key] = Version(match.path, kept)
        version.snapshots.append(match.snapshot)
    return [version for path in sorted(versions) for version in versions[path].values()]


def _digest(fields: Fields) -> bytes:
    compared = {name: value for name, value in fields.items() if name not in _PASSING}
    compared["content"] = fields.get("content")
    return blake2b(orjson.dumps(compared, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()

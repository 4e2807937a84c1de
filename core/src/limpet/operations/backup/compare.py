"""What the parent snapshot knows of a folder: whether an entry is unchanged since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from limpet import filesystem
from limpet.contracts.source import Entry, StatLike
from limpet.errors import IntegrityError, LimpetError
from limpet.format.filemode import go_mode_from_stat
from limpet.format.gojson import unquote_name
from limpet.format.native import SameFiles
from limpet.format.node import Node, decode_node
from limpet.format.pack import BlobKind
from limpet.format.timestamps import Time, local_second, local_time, parse_time
from limpet.ids import BlobId
from limpet.repository.blob_index import data_length
from limpet.repository.repository import Repository

_DATA = BlobKind.DATA.value
Fields = dict[str, Any]
"""A node of the parent as its JSON fields."""


@dataclass(slots=True)  # frozen ones take four times as long to make, and there is one for every file
class Unchanged:
    """An entry whose node would be written as it is in the parent: encoded only if the folder has to be."""

    name: bytes
    status: StatLike
    old: Fields
    content: Sequence[BlobId] | None = None
    subtree: BlobId | None = None


class Comparer:
    """Compares what is on disk with the parent's nodes."""

    def __init__(
        self,
        repository: Repository,
        *,
        ignore_inode: bool = False,
        ignore_ctime: bool = False,
        with_atime: bool = False,
    ) -> None:
        self._repository = repository
        self._contains = repository.index.table.contains
        self._same_files = SameFiles(repository.index.table, Unchanged, local_second, _mode_and_owner)
        self._check_inode = not ignore_inode
        self._check_ctime = not (ignore_inode or ignore_ctime)
        self._with_atime = with_atime

    def folder(self, tree_id: BlobId | None) -> tuple[dict[bytes, Fields], LimpetError | None]:
        """The parent's nodes of a folder by raw name; empty, with the error, if its tree cannot be read."""
        if tree_id is None:
            return {}, None
        try:
            nodes = self._repository.load_tree_fields(tree_id)
            return {_raw_name(node["name"]): node for node in nodes}, None
        except LimpetError as error:
            return {}, error
        except (KeyError, TypeError, ValueError) as error:
            return {}, IntegrityError(f"tree {tree_id.hex()} is damaged: {error!r}")

    def take_over(
        self, entries: list[Entry], old: dict[bytes, Fields], slots: list[Any]
    ) -> tuple[int, int, list[tuple[int, Entry, Fields | None]]]:
        """Fill the slots of regular files whose nodes would be written as they are in the parent.

        Their number, their size in bytes, and slot, entry and old node of all others. What `is_unchanged`, `content`
        and `same_metadata` say together, in one piece: asked for every file.
        """
        if self._with_atime or not self._check_ctime:
            return 0, 0, [(slot, entry, old.get(entry.name)) for slot, entry in enumerate(entries)]
        return self._same_files.settle(entries, old, slots)

    def is_unchanged(self, status: StatLike, old: Fields) -> bool:
        """Whether the file's content is the parent's, as far as its status tells."""
        get = old.get
        return not (
            get("size", 0) != status.st_size
            or (self._check_inode and get("inode") != status.st_ino)
            or not _same_time(get("mtime"), status.st_mtime_ns)
            or (self._check_ctime and not _same_time(get("ctime"), status.st_ctime_ns))
            or get("type") != "file"
        )

    def content(self, old: Fields) -> list[BlobId] | None:
        """The file's chunks in the parent; None if one is not in the index any more (restic issue 2571)."""
        get = old.get
        try:
            content = [BlobId(bytes.fromhex(text)) for text in get("content") or ()]
        except (TypeError, ValueError):
            return None
        contains = self._contains
        for blob_id in content:
            if not contains(_DATA, blob_id):
                return None
        return content

    def chunks(self, old: Fields) -> list[tuple[BlobId, int]]:
        """The chunks of the file in the parent, with lengths; none if one is missing or they are not all of it."""
        content = self.content(old)
        if content is None:
            return []
        places = [self._repository.index.table.find(_DATA, blob_id) for blob_id in content]
        lengths = [data_length(place) for place in places if place is not None]
        return list(zip(content, lengths, strict=True)) if sum(lengths) == old.get("size", 0) else []

    def same_metadata(self, status: StatLike, old: Fields) -> bool:
        """Whether a node written now would be the old one, given that times and size are the same.

        Attributes count as the same where the time of the last change is.
        """
        get = old.get
        return (
            self._check_ctime
            and not self._with_atime
            and get("inode", 0) == status.st_ino
            and (get("mode", 0), get("uid"), get("gid"), get("user", ""), get("group", ""))
            == _mode_and_owner(status.st_mode, status.st_uid, status.st_gid)
            and get("atime") == get("mtime")
            and (get("type") == "dir" or _same_links(status, old))
        )

    def same_times(self, status: StatLike, old: Fields) -> bool:
        """Whether modification and change times are those of the old node."""
        return _same_time(old.get("mtime"), status.st_mtime_ns) and _same_time(old.get("ctime"), status.st_ctime_ns)


@lru_cache(4096)
def _mode_and_owner(st_mode: int, uid: int, gid: int) -> tuple[int, int, int, str, str]:
    """What a node says of them; few files differ in it."""
    return go_mode_from_stat(st_mode), uid, gid, filesystem.user_name(uid), filesystem.group_name(gid)


def same_node(old: Fields, node: bytes) -> bool:
    """Whether a node's JSON says what the parent's node says; the zones of its times do not matter."""
    try:
        return _comparable(decode_node(old)) == _comparable(decode_node(json.loads(node)))
    except (IntegrityError, ValueError):
        return False


def _comparable(node: Node) -> Node:
    return replace(node, mtime=Time(node.mtime.ns), atime=Time(node.atime.ns), ctime=Time(node.ctime.ns))


def attributes(old: Fields) -> list[tuple[bytes, bytes]]:
    """The extended attributes of a parent's node."""
    return decode_node(old).extended_attributes if old.get("extended_attributes") else []


def _same_links(status: StatLike, old: Fields) -> bool:
    links = status.st_nlink
    return bool(old.get("links", 0) == links and old.get("device_id", 0) == (status.st_dev if links > 1 else 0))


def _same_time(text: object, ns: int) -> bool:
    if text == local_time(ns):
        return True
    # The same instant may have been written in another zone.
    try:
        return isinstance(text, str) and parse_time(text).ns == ns
    except IntegrityError:
        return False


def _raw_name(text: str) -> bytes:
    return unquote_name(text) if "\\" in text else text.encode()

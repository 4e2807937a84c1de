"""The plain-Python twin of `native.SameFiles`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from limpet.contracts.source import Entry, StatLike

_DATA = 0  # BlobKind.DATA; that module needs the native ones, as does that of times
_NS_PER_S = 1_000_000_000
_TYPE_BITS, _REGULAR = 0o170000, 0o100000
Fields = dict[str, Any]
"""A node of the parent as its JSON fields."""
Other = tuple[int, Entry, Fields | None]
"""Slot, entry and old node of an entry that is not plainly the same."""


class _Table(Protocol):
    def contains(self, kind: int, blob_id: bytes, /) -> bool: ...


class SameFiles:
    """Tells the files of a folder that are as the parent's nodes say from all others.

    `make(name, status, node, content)` makes what fills a slot; `local_second` is that of `limpet.format.timestamps`,
    `mode_and_owner(st_mode, uid, gid)` gives mode, uid, gid, user and group as nodes have them.
    """

    def __init__(
        self,
        table: _Table,
        make: Callable[..., object],
        local_second: Callable[[int], tuple[str, str]],
        mode_and_owner: Callable[[int, int, int], tuple[int, int, int, str, str]],
        /,
    ) -> None:
        self._contains = table.contains
        self._make = make
        self._local_second = local_second
        self._mode_and_owner = mode_and_owner

    def settle(
        self, entries: list[Entry], old: dict[bytes, Fields], slots: list[Any], /
    ) -> tuple[int, int, list[Other]]:
        """Fill the slots of files that are as in `old`; their number, their size in bytes, and all other entries."""
        files = size_bytes = 0
        others: list[Other] = []
        for slot, entry in enumerate(entries):
            node = old.get(entry.name)
            content = None
            if node is not None and not entry.made and self._is_same(entry.stat, node):
                content = self._known_content(node)
            if content is None:
                others.append((slot, entry, node))
            else:
                slots[slot] = self._make(entry.name, entry.stat, node or {}, content)
                files += 1
                size_bytes += entry.stat.st_size
        return files, size_bytes, others

    def _is_same(self, status: StatLike, node: Fields) -> bool:
        """Whether a node written now would be this one, its content aside."""
        get = node.get
        links = status.st_nlink
        mtime = get("mtime")
        return bool(
            status.st_mode & _TYPE_BITS == _REGULAR
            and get("type") == "file"
            and get("inode") == status.st_ino
            and get("size", 0) == status.st_size
            and get("links") == links
            and get("device_id", 0) == (status.st_dev if links > 1 else 0)
            and mtime == get("atime")
            and mtime == self._local_time(status.st_mtime_ns)
            and get("ctime") == self._local_time(status.st_ctime_ns)
            and (get("mode", 0), get("uid"), get("gid"), get("user", ""), get("group", ""))
            == self._mode_and_owner(status.st_mode, status.st_uid, status.st_gid)
        )

    def _local_time(self, ns: int) -> str:
        second, fraction_ns = divmod(ns, _NS_PER_S)
        head, zone = self._local_second(second)
        return head + "." + str(_NS_PER_S + fraction_ns)[1:].rstrip("0") + zone if fraction_ns else head + zone

    def _known_content(self, node: Fields) -> list[bytes] | None:
        """The node's chunks; None if one is not in the index any more (restic issue 2571), or is no id."""
        try:
            content = [bytes.fromhex(text) for text in node.get("content") or ()]
            return content if all(self._contains(_DATA, blob_id) for blob_id in content) else None
        except (TypeError, ValueError):
            return None

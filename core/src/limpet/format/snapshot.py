"""A snapshot: what was backed up, when and by whom, and the tree that holds it.

Source: FORMAT.md for the fields and their order; rustic's `SnapshotFile` for `description` and `delete`. What Limpet
does not know (rustic writes several fields of its own) is kept in `extra` and written back after the known fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from limpet.errors import IntegrityError
from limpet.format import Buffer
from limpet.format import fields as read
from limpet.format.gojson import JsonValue, json_value
from limpet.format.timestamps import ZERO_TIME, Time, format_time, parse_time
from limpet.ids import BlobId, StorageId


@dataclass(slots=True)
class SnapshotSummary:
    """What the backup that made the snapshot did. Sizes are bytes."""

    backup_start: Time = ZERO_TIME
    backup_end: Time = ZERO_TIME
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    data_added: int = 0
    data_added_packed: int = 0
    total_files_processed: int = 0
    total_bytes_processed: int = 0
    extra: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Protection:
    """A snapshot is not to be removed before `until`; None for never at all. rustic's `delete`."""

    until: Time | None = None

    def holds_at(self, now_ns: int) -> bool:
        """Whether the snapshot must stay, at an instant in nanoseconds since 1970."""
        return self.until is None or now_ns <= self.until.ns


@dataclass(slots=True)
class Snapshot:
    """One snapshot. `tree` is None only in what a broken writer left; `original` names what a rewrite replaced.

    `description` and `protection` are rustic's: restic leaves them out when it rewrites the snapshot (tag, rewrite).
    """

    time: Time
    tree: BlobId | None
    paths: list[str]
    parent: StorageId | None = None
    hostname: str = ""
    username: str = ""
    uid: int = 0
    gid: int = 0
    excludes: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    original: StorageId | None = None
    program_version: str = ""
    summary: SnapshotSummary | None = None
    description: str = ""
    protection: Protection | None = None
    extra: dict[str, JsonValue] = field(default_factory=dict)


_KNOWN = frozenset((
    "time", "parent", "tree", "paths", "hostname", "username", "uid", "gid", "excludes", "tags", "original",
    "program_version", "summary",
))  # fmt: skip
_COUNTS = (
    "files_new", "files_changed", "files_unmodified", "dirs_new", "dirs_changed", "dirs_unmodified", "data_blobs",
    "tree_blobs", "data_added", "data_added_packed", "total_files_processed", "total_bytes_processed",
)  # fmt: skip
_SUMMARY_KNOWN = frozenset(("backup_start", "backup_end", *_COUNTS))


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The snapshot's JSON, byte for byte restic's where it holds nothing that restic does not know."""
    fields: dict[str, JsonValue] = {"time": format_time(*snapshot.time)}
    if snapshot.parent is not None:
        fields["parent"] = snapshot.parent.hex()
    fields["tree"] = None if snapshot.tree is None else snapshot.tree.hex()
    fields["paths"] = snapshot.paths
    optional: dict[str, JsonValue] = {
        "hostname": snapshot.hostname,
        "username": snapshot.username,
        "uid": snapshot.uid,
        "gid": snapshot.gid,
        "excludes": snapshot.excludes,
        "tags": snapshot.tags,
        "original": None if snapshot.original is None else snapshot.original.hex(),
        "program_version": snapshot.program_version,
        "summary": None if snapshot.summary is None else _summary_fields(snapshot.summary),
        "description": snapshot.description,
        "delete": None if snapshot.protection is None else _protection_field(snapshot.protection),
    }
    fields |= {key: value for key, value in optional.items() if value}
    return json_value(fields | snapshot.extra)


def _summary_fields(summary: SnapshotSummary) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {
        "backup_start": format_time(*summary.backup_start),
        "backup_end": format_time(*summary.backup_end),
    }
    fields |= {key: getattr(summary, key) for key in _COUNTS}
    return fields | summary.extra


def _protection_field(protection: Protection) -> JsonValue:
    return "Never" if protection.until is None else {"After": format_time(*protection.until)}


def decode_snapshot(json: Buffer) -> Snapshot:
    """The snapshot from its JSON; IntegrityError for anything that is none."""
    fields = read.decode_object(json, "a snapshot")
    tree, parent, original = (read.identifier(fields, key) for key in ("tree", "parent", "original"))
    summary = fields.get("summary")
    extra: dict[str, JsonValue] = {key: value for key, value in fields.items() if key not in _KNOWN}
    return Snapshot(
        time=read.time(fields, "time"),
        tree=None if tree is None else BlobId(tree),
        paths=read.strings(fields, "paths"),
        parent=None if parent is None else StorageId(parent),
        hostname=read.string(fields, "hostname"),
        username=read.string(fields, "username"),
        uid=read.uint(fields, "uid", read.UINT32),
        gid=read.uint(fields, "gid", read.UINT32),
        excludes=read.strings(fields, "excludes"),
        tags=read.strings(fields, "tags"),
        original=None if original is None else StorageId(original),
        program_version=read.string(fields, "program_version"),
        summary=None if summary is None else _decode_summary(read.as_object(summary, "the summary of a snapshot")),
        description=_take_description(extra),
        protection=_take_protection(extra),
        extra=extra,
    )


def _take_description(extra: dict[str, JsonValue]) -> str:
    """The description, no longer in `extra`; what is none stays there, for restic reads such a snapshot, too."""
    value = extra.get("description")
    if not isinstance(value, str) or not value:
        return ""
    del extra["description"]
    return value


def _take_protection(extra: dict[str, JsonValue]) -> Protection | None:
    """The protection, no longer in `extra`. One that we do not understand stays there, and protects for ever."""
    value = extra.get("delete")
    if value is None or value == "NotSet":
        return None
    if value == "Never":
        del extra["delete"]
    elif isinstance(value, dict) and isinstance(after := value.get("After"), str):
        try:
            until = parse_time(after)
        except IntegrityError:
            return Protection()
        del extra["delete"]
        return Protection(until)
    return Protection()


def _decode_summary(fields: read.Fields) -> SnapshotSummary:
    extra: dict[str, JsonValue] = {key: value for key, value in fields.items() if key not in _SUMMARY_KNOWN}
    summary = SnapshotSummary(read.time(fields, "backup_start"), read.time(fields, "backup_end"), extra=extra)
    for key in _COUNTS:
        setattr(summary, key, read.uint(fields, key))
    return summary

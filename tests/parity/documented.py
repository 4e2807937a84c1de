"""The JSON documents that restic documents: their keys and types (doc/075_scripting.rst of 0.19), checked by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SNAPSHOT_KEYS = (
    "time:string parent?:string tree:string paths:[string] hostname:string username:string uid?:int gid?:int "
    "excludes?:[string] tags?:[string] program_version?:string summary?:snapshot_summary id:string short_id:string"
)
PRUNE_COUNTS = "used:int duplicate:int unused:int total:int repack:int repack_remove:int remove:int remove_total:int"

DOCUMENTED = {
    "exit_error": "message_type:string code:int message:string",
    "backup status": (
        "message_type:string seconds_elapsed?:int seconds_remaining?:int percent_done:number total_files?:int "
        "files_done?:int total_bytes?:int bytes_done?:int error_count?:int current_files?:[string]"
    ),
    "backup error": "message_type:string error:error during:string item:string",
    "error": "message:string",
    "backup verbose_status": (
        "message_type:string action:string item:string duration:number data_size:int data_size_in_repo:int "
        "metadata_size:int metadata_size_in_repo:int total_files:int"
    ),
    "backup summary": (
        "message_type:string dry_run?:bool files_new:int files_changed:int files_unmodified:int dirs_new:int "
        "dirs_changed:int dirs_unmodified:int data_blobs:int tree_blobs:int data_added:int data_added_packed:int "
        "total_files_processed:int total_bytes_processed:int backup_start:string backup_end:string "
        "total_duration:number snapshot_id?:string"
    ),
    "check summary": (
        "message_type:string num_errors:int broken_packs:[string]|null suggest_repair_index:bool suggest_prune:bool"
    ),
    "check error": "message_type:string message:string",
    "diff change": "message_type:string path:string modifier:string",
    "diff statistics": (
        "message_type:string source_snapshot:string target_snapshot:string changed_files:int added:diff_stat "
        "removed:diff_stat"
    ),
    "diff_stat": "files:int dirs:int others:int data_blobs:int tree_blobs:int bytes:int",
    "find": "matches:[find_match]|null hits:int snapshot:string",
    "find_match": (
        "path:string permissions:string name?:string type:string mode?:int mtime?:string atime?:string ctime?:string "
        "uid?:int gid?:int user?:string group?:string inode?:int device_id?:int size?:int links?:int linktarget?:string"
    ),
    "find blob": "object_type:string id:string path?:string parent_tree?:string snapshot?:string time?:string",
    "forget": (
        "tags:[string]|null host:string paths:[string]|null keep:[snapshot]|null remove:[snapshot]|null "
        "reasons:[keep_reason]|null"
    ),
    # `counters` is not documented, but restic has it
    "keep_reason": "snapshot:kept_snapshot matches:[string]",
    "kept_snapshot": SNAPSHOT_KEYS.replace("id:string short_id:string", "id?:string short_id?:string"),
    "snapshot": SNAPSHOT_KEYS,
    "snapshot_summary": (
        "backup_start:string backup_end:string files_new:int files_changed:int files_unmodified:int dirs_new:int "
        "dirs_changed:int dirs_unmodified:int data_blobs:int tree_blobs:int data_added:int data_added_packed:int "
        "total_files_processed:int total_bytes_processed:int"
    ),
    "prune summary": "message_type:string blobs:prune_blobs bytes:prune_sizes packfiles:prune_packfiles",
    "prune_blobs": f"{PRUNE_COUNTS} remaining:int",
    "prune_sizes": f"{PRUNE_COUNTS} unreferenced:int uncompressed:int remaining:int remaining_unused:int",
    "prune_packfiles": (
        "used:int unused:int partly_used:int unreferenced:int total:int keep:int repack:int remove:int remove_total:int"
    ),
    "init": "message_type:string id:string repository:string",
    "key": "current:bool id:string userName:string hostName:string created:string",
    "ls snapshot": f"{SNAPSHOT_KEYS} message_type:string struct_type:string",
    "ls node": (
        "message_type:string struct_type:string name:string type:string path:string uid:int gid:int size?:int "
        "mode?:int permissions?:string atime?:string mtime?:string ctime?:string inode?:int"
    ),
    "restore status": (
        "message_type:string seconds_elapsed?:int percent_done:number total_files?:int files_restored?:int "
        "files_skipped?:int files_deleted?:int total_bytes?:int bytes_restored?:int bytes_skipped?:int"
    ),
    "restore error": "message_type:string error:error during:string item:string",
    "restore verbose_status": "message_type:string action:string item:string size:int",
    "restore summary": (
        "message_type:string seconds_elapsed?:int total_files?:int files_restored?:int files_skipped?:int "
        "files_deleted?:int total_bytes?:int bytes_restored?:int bytes_skipped?:int"
    ),
    "stats": (
        "total_size:int total_file_count?:int total_blob_count?:int snapshots_count:int total_uncompressed_size?:int "
        "compression_ratio?:number compression_progress?:number compression_space_saving?:number"
    ),
    "tag changed": "message_type:string old_snapshot_id:string new_snapshot_id:string",
    "tag summary": "message_type:string changed_snapshots:int",
    "version": "message_type:string version:string go_version:string go_os:string go_arch:string",
}
"""Keys and types by document. `?` where a key may be left out, `[x]` for lists, a name for another document."""


def faults(name: str, value: Any) -> Iterator[str]:
    """What of the value is not as the document of that name says: missing and unknown keys, other types."""
    if not isinstance(value, Mapping):
        yield f"{name}: no object but {value!r}"
        return
    wanted = dict(entry.split(":") for entry in DOCUMENTED[name].split())
    optional = {key.removesuffix("?") for key in wanted if key.endswith("?")}
    types = {key.removesuffix("?"): kind for key, kind in wanted.items()}
    yield from (f"{name}: no {key}" for key in types.keys() - optional - value.keys())
    for key, inner in value.items():
        if key not in types:
            yield f"{name}: {key} is not documented"
        else:
            yield from _type_faults(f"{name}.{key}", types[key], inner)


def _type_faults(where: str, kind: str, value: Any) -> Iterator[str]:
    if kind.endswith("|null"):
        if value is not None:
            yield from _type_faults(where, kind.removesuffix("|null"), value)
    elif kind.startswith("["):
        if not isinstance(value, list):
            yield f"{where}: no list but {value!r}"
        else:
            for inner in value:
                yield from _type_faults(where, kind[1:-1], inner)
    elif kind in DOCUMENTED:
        yield from faults(kind, value)
    elif not _is(kind, value):
        yield f"{where}: no {kind} but {value!r}"


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    raise ValueError(kind)

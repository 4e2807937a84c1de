"""The last step of a backup: the snapshot file."""

from __future__ import annotations

import os
from dataclasses import replace

from limpet.contracts.backend import FileKind
from limpet.contracts.hooks import SnapshotDraft
from limpet.format.snapshot import Snapshot, SnapshotSummary, encode_snapshot
from limpet.format.timestamps import Time
from limpet.operations.backup.options import BackupOptions, BackupResult
from limpet.operations.origin import login_name
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot


def save_snapshot(repository: Repository, options: BackupOptions, result: BackupResult) -> BackupResult:
    """The result with its snapshot, saved; without one if nothing has changed and that was asked for."""
    parent = options.parent
    if options.skip_if_unchanged and parent is not None and parent.snapshot.tree == result.tree:
        return result
    draft = SnapshotDraft(options.hostname, tuple(result.paths), list(options.tags), options.description)
    if options.before_saving is not None:
        options.before_saving(draft)
    snapshot = Snapshot(
        time=Time(options.time_ns),
        tree=result.tree,
        paths=list(result.paths),
        parent=None if parent is None else parent.id,
        hostname=options.hostname,
        username=login_name(),
        uid=os.getuid() if hasattr(os, "getuid") else 0,
        gid=os.getgid() if hasattr(os, "getgid") else 0,
        excludes=list(options.excludes),
        tags=draft.tags,
        program_version=options.program_version,
        summary=_summary(result),
        description=draft.description,
        protection=options.protection,
    )
    snapshot_id = repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))
    return replace(result, snapshot=StoredSnapshot(snapshot_id, snapshot))


def _summary(result: BackupResult) -> SnapshotSummary:
    counts, stored = result.counts, result.stored
    return SnapshotSummary(
        backup_start=Time(result.started_ns),
        backup_end=Time(result.ended_ns),
        files_new=counts.files_new,
        files_changed=counts.files_changed,
        files_unmodified=counts.files_unmodified,
        dirs_new=counts.dirs_new,
        dirs_changed=counts.dirs_changed,
        dirs_unmodified=counts.dirs_unmodified,
        data_blobs=stored.data_blobs,
        tree_blobs=stored.tree_blobs,
        data_added=stored.added_bytes,
        data_added_packed=stored.packed_bytes,
        total_files_processed=counts.files_processed,
        total_bytes_processed=counts.bytes_processed,
    )

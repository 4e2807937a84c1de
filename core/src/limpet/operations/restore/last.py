"""What comes last: further names of files, removal of what is not in the snapshot, metadata of folders."""

from __future__ import annotations

import os

from limpet.operations.restore.metadata import restore_metadata
from limpet.operations.restore.plan import HardLink, Planner
from limpet.operations.restore.record import decode_record
from limpet.operations.restore.run import RestoreError, Run
from limpet.operations.restore.target import join


def make_hard_links(run: Run, links: list[HardLink]) -> None:
    """Give restored files their further names. They share the metadata, so nothing else is to be set."""
    for link in links:
        location = b"/" + join(link.folder, link.name)
        first = b"/" + join(link.first_folder, link.first_name)
        if first in run.lost:
            run.report(location, RestoreError(f"is the same file as {os.fsdecode(first)}, which could not be restored"))
            continue
        try:
            run.target.clear(link.folder, link.name)
            source = run.target.open_folder(link.first_folder)
            os.link(
                link.first_name,
                link.name,
                src_dir_fd=source,
                dst_dir_fd=run.target.open_folder(link.folder),
                follow_symlinks=False,
            )
        except OSError as error:
            run.report(location, RestoreError(f"cannot make a hard link to {os.fsdecode(first)}: {error.strerror}"))
        else:
            run.other_done(location)


def remove_surplus(run: Run, surplus: list[tuple[bytes, bytes]]) -> None:
    """Remove what the snapshot does not hold, with all that is in it."""
    for folder, name in surplus:
        try:
            removed = run.target.remove_tree(folder, name, dry_run=run.options.dry_run)
        except OSError as error:
            run.report(b"/" + join(folder, name), RestoreError(f"cannot be deleted: {error.strerror}"))
            continue
        for path in removed:
            run.deleted(path)


def restore_folders(run: Run, folders: list[tuple[bytes, bytes]]) -> None:
    """Set the metadata of folders, what is deeper first: whatever is done in a folder changes its time."""
    for path, raw in folders:
        location = b"/" + path
        if not run.options.dry_run:
            try:
                restore_metadata(run.target.open_folder(path), decode_record(raw), run.policy)
            except OSError as error:
                run.report(location, RestoreError(error.strerror or str(error)))
                continue
        run.other_done(location, is_folder=True)


def finish(run: Run, planner: Planner, *, may_delete: bool) -> None:
    """All of it, in the order that it needs."""
    make_hard_links(run, planner.hard_links)
    if may_delete:
        remove_surplus(run, planner.surplus)
    restore_folders(run, planner.folders)

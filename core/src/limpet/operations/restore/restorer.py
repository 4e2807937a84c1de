"""Restores a tree of a snapshot to a folder.

One process talks to the storage: it plans, makes the folders and loads what is needed into shared buffers. Worker
processes open, verify and write. Nothing outside the target is ever touched: see `target`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from limpet import filesystem
from limpet.errors import LimpetError
from limpet.format.tree import iter_tree_fields
from limpet.ids import BlobId
from limpet.operations.restore.last import finish
from limpet.operations.restore.load import Loader
from limpet.operations.restore.metadata import MetadataPolicy
from limpet.operations.restore.options import RestoreOptions, RestoreResult
from limpet.operations.restore.plan import Planner
from limpet.operations.restore.record import Entry
from limpet.operations.restore.run import Run
from limpet.operations.restore.target import NEW_FOLDER_MODE, Target
from limpet.operations.restore.taskqueue import TaskQueue
from limpet.operations.restore.tasks import DiskFullError, WorkerState, open_trees
from limpet.operations.restore.traverse import Walk
from limpet.progress import Reporter, SilentReporter
from limpet.repository.repository import Repository
from limpet.repository.workers import SharedBuffers, Workers

BUFFER_BYTES = 8 * 1024 * 1024 + 64 * 1024
"""A whole pack in two or three requests; room for the largest blob that restic's chunker makes."""
MAX_LOAD_THREADS = 5


def restore(
    repository: Repository,
    tree_id: BlobId,
    target: Path,
    options: RestoreOptions | None = None,
    reporter: Reporter | None = None,
) -> RestoreResult:
    """Figures of the restore of everything below the tree into the folder `target`, which is made if need be.

    The repository's index is loaded. What could not be restored was told to the reporter's `error`, item by item,
    and counted in the result's `errors`. LimpetError only where going on makes no sense: no target, a full disk.
    """
    options = options or RestoreOptions()
    reporter = reporter or SilentReporter()
    started = time.monotonic()
    root_fd = _open_target(target, dry_run=options.dry_run)
    policy = MetadataPolicy(
        ownership_by_name=options.ownership_by_name,
        select_xattr=options.select_xattr,
        ignore_permission_errors=os.geteuid() != 0,
    )
    threads = max(1, min(repository.backend.properties.connections, MAX_LOAD_THREADS))
    try:
        make_state = partial(
            WorkerState, root_fd, os.fsencode(target), repository.key, policy, allow_recursive_removal=options.delete
        )
        with RestoreWorkers(make_state, options.workers, threads) as workers:
            run = Run(
                repository=repository,
                options=options,
                reporter=reporter,
                target=Target(root_fd, allow_recursive_removal=options.delete),
                target_path=os.path.abspath(os.fsencode(target)),
                policy=policy,
                queue=TaskQueue(workers.workers),
                wants_items=False,
            )
            reporter.begin(run.progress)
            run.wants_items = reporter.wants_items
            # There is little else for the workers to do while the trees are walked.
            repository.trees.open_ahead = lambda trees: workers.workers.submit(open_trees, trees)
            try:
                _restore(run, tree_id, workers.buffers, threads)
            except BaseException:
                repository.interrupt()  # a storage that is being retried must not hold the user for minutes
                raise
            finally:
                repository.trees.open_ahead = None
                run.target.close()
                reporter.end()
    except DiskFullError as error:
        raise LimpetError(
            f"no space left while writing {error.filename} below {target}: make room and restore again, "
            "what is there already is not written a second time"
        ) from error
    finally:
        if root_fd >= 0:
            os.close(root_fd)
    return _result(run, time.monotonic() - started)


def load_tree(repository: Repository, tree_id: BlobId) -> Iterator[Entry]:
    """The nodes of a tree one by one: a folder of a million entries is never in memory at once."""
    yield from map(Entry, iter_tree_fields(repository.trees.read(tree_id)))


def _restore(run: Run, tree_id: BlobId, buffers: SharedBuffers, threads: int) -> None:
    planner = Planner(run)
    walk = Walk(partial(load_tree, run.repository), run.options.select, planner, run.report)
    walk.run(tree_id)
    planner.finish()
    if not run.options.dry_run:
        Loader(run, planner.needs, buffers, threads).run()
    # After a name that cannot be, nobody knows what the snapshot really holds: nothing is deleted then, as in restic.
    finish(run, planner, may_delete=not walk.found_invalid_names)


class RestoreWorkers:
    """Workers with the buffers they share; ended at once where the restore fails or is interrupted."""

    def __init__(self, make_state: partial[WorkerState], count: int | None, threads: int) -> None:
        from limpet.repository.workers import usable_cpus  # noqa: PLC0415

        count = count or usable_cpus()
        self.buffers = SharedBuffers(count + threads, BUFFER_BYTES)
        self.workers: Workers[WorkerState] = Workers(partial(make_state, buffers=self.buffers), count)

    def __enter__(self) -> RestoreWorkers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.buffers.close()
        if error is None:
            self.workers.close()
        else:
            self.workers.kill()


def _open_target(target: Path, *, dry_run: bool) -> int:
    """A descriptor of the target folder, made if need be; -1 in a dry run without it."""
    try:
        if not dry_run:
            for folder in (*reversed(target.absolute().parents), target):
                folder.mkdir(NEW_FOLDER_MODE, exist_ok=True)
        elif not target.exists():
            return -1
        return os.open(target, filesystem.FOLDER_FLAGS)
    except OSError as error:
        raise LimpetError(f"cannot create target directory: {target}: {error.strerror}") from error


def _result(run: Run, duration_s: float) -> RestoreResult:
    progress, result = run.progress, run.result
    result.files_total = progress.files_total or 0
    result.files_restored = progress.files_done
    result.files_skipped = progress.files_skipped
    result.files_deleted = progress.files_deleted
    result.bytes_total = progress.bytes_total or 0
    result.bytes_restored = progress.bytes_done
    result.bytes_skipped = progress.bytes_skipped
    result.duration_s = duration_s
    return result

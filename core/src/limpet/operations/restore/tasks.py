"""What worker processes do in a restore: compare, create, write, and set metadata. Tasks take and give plain data.

A file is named by its number in the plan; a failure comes back as `(file number, reason)`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from limpet import filesystem
from limpet.errors import IntegrityError
from limpet.filesystem import CLOSE_ON_EXEC, NO_FOLLOW, NO_WAIT
from limpet.format import Buffer
from limpet.format.crypto import MasterKey
from limpet.ids import BlobId
from limpet.operations.restore.content import matching_blobs, write_at, write_sparsely_at
from limpet.operations.restore.metadata import MetadataPolicy, restore_metadata, restore_metadata_at
from limpet.operations.restore.record import Record, decode_record
from limpet.operations.restore.target import Target, join
from limpet.repository.blobs import BlobOpener
from limpet.repository.trees import SealedTree
from limpet.repository.workers import SharedBuffers

CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | CLOSE_ON_EXEC
WRITE_FLAGS = os.O_WRONLY | NO_FOLLOW | NO_WAIT | CLOSE_ON_EXEC
PRIVATE_MODE = 0o600
SCRATCH_BYTES = 8 * 1024 * 1024
READ_FLAGS = os.O_RDONLY | NO_FOLLOW | NO_WAIT | CLOSE_ON_EXEC
_FULL = {errno.ENOSPC, errno.EDQUOT}

Failure = tuple[int, str]
Identity = tuple[int, int]
"""Device and inode number: which file a name must still lead to."""

WholeFile = tuple[bytes, bytes]
"""`(folder, record)` of a file that is written in one go."""
PartialFile = tuple[bytes, bytes, Identity, bool]
"""`(folder, name, identity, is it written sparsely)` of a file that was created before; its blobs come one by one."""
BlobTask = tuple[int, int, int, bytes, list[tuple[int, int]]]
"""`(position in the buffer, sealed length, plain length, id, [(file number, offset in the file)])`."""


class DiskFullError(OSError):
    """There is no room left; going on would fail for every file."""


class WorkerState:
    """What a worker keeps between tasks."""

    def __init__(
        self,
        root_fd: int,
        root_path: bytes,
        key: MasterKey,
        policy: MetadataPolicy,
        *,
        buffers: SharedBuffers,
        allow_recursive_removal: bool = False,
    ) -> None:
        self.target = Target(root_fd, allow_recursive_removal=allow_recursive_removal)
        self.root_path = root_path
        self.policy = policy
        self.buffers = buffers
        self.opener = BlobOpener(key)
        # Reused: fresh megabytes cost more in page faults than reading into them.
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))


def write_blobs(
    state: WorkerState,
    source: int | bytes,
    blobs: Sequence[BlobTask],
    files: dict[int, WholeFile | PartialFile],
    *,
    is_sealed: bool,
    is_sparse: bool,
) -> tuple[list[tuple[int, str]], list[Failure]]:
    """Write blobs from a shared buffer (or the bytes given) to all files that need them.

    Gives the blobs that could not be opened, as `(index, reason)`, and the files that could not be written.
    """
    view = state.buffers.view(source) if isinstance(source, int) else memoryview(source)
    damaged: list[tuple[int, str]] = []
    failures: list[Failure] = []
    sealed = ((view[start : start + length], BlobId(blob_id), plain) for start, length, plain, blob_id, _ in blobs)
    contents = state.opener.open_all(sealed) if is_sealed else (content for content, _, _ in sealed)
    for index, ((*_, targets), data) in enumerate(zip(blobs, contents, strict=True)):
        if isinstance(data, IntegrityError):
            damaged.append((index, str(data)))
            continue
        for number, offset in targets:
            file = files[number]
            try:
                if len(file) == 2:
                    _write_whole(state, file[0], decode_record(file[1]), data, is_sparse)
                else:
                    _write_part(state, file, data, offset)
            except OSError as error:
                name = decode_record(file[1]).name if len(file) == 2 else file[1]
                failures.append((number, _reason(error, join(file[0], name))))
    return damaged, failures


def open_trees(state: WorkerState, trees: Sequence[SealedTree]) -> list[bytes | None]:
    """The plaintexts of stored trees in the same order, None for what is damaged."""
    opened = state.opener.open_all((tree.sealed, tree.tree_id, tree.plain_length_bytes) for tree in trees)
    return [None if isinstance(data, IntegrityError) else data for data in opened]


def create_files(
    state: WorkerState, files: list[tuple[int, bytes, bytes, int, bool]]
) -> tuple[list[tuple[int, Identity]], list[Failure]]:
    """Make files ready for their blobs: `(file number, folder, name, size, keep what is there)`; their identities.

    A file that is kept must be a regular one with a single name, else it is replaced as any other.
    """
    identities: list[tuple[int, Identity]] = []
    failures: list[Failure] = []
    for number, folder, name, size, is_kept in files:
        try:
            descriptor = _open_existing(state, folder, name) if is_kept else _create(state, folder, name)
            try:
                os.ftruncate(descriptor, size)
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            failures.append((number, _reason(error, join(folder, name))))
        else:
            identities.append((number, (status.st_dev, status.st_ino)))
    return identities, failures


def finish_files(state: WorkerState, files: list[tuple[int, bytes, bytes, Identity]]) -> list[Failure]:
    """Set the metadata of files whose content is complete: `(file number, folder, record, identity)`."""
    failures: list[Failure] = []
    for number, folder, raw, identity in files:
        try:
            record = decode_record(raw)
            descriptor = _open_known(state, folder, record.name, identity, READ_FLAGS)
            try:
                restore_metadata(descriptor, record, state.policy)
            finally:
                os.close(descriptor)
        except (OSError, IntegrityError) as error:
            if not (state.policy.ignore_permission_errors and isinstance(error, PermissionError)):
                failures.append((number, _reason(error, folder)))
    return failures


def create_empty_files(state: WorkerState, files: list[tuple[int, bytes, bytes]]) -> list[Failure]:
    """Make files without content, with their metadata: `(file number, folder, record)`."""
    return _each(files, lambda folder, raw: _write_whole(state, folder, decode_record(raw), b"", is_sparse=False))


def create_specials(state: WorkerState, nodes: list[tuple[int, bytes, bytes, bytes, int]]) -> list[Failure]:
    """Make symlinks, fifos and devices with their metadata: `(number, folder, record, link target, device)`."""
    failures: list[Failure] = []
    for number, folder, raw, link_target, device in nodes:
        try:
            record = decode_record(raw)
            _create_special(state, folder, record, link_target, device)
        except (OSError, IntegrityError) as error:
            failures.append((number, _reason(error, folder)))
    return failures


def compare_file(
    state: WorkerState, folder: bytes, name: bytes, offset: int, blobs: Sequence[tuple[bytes, int]]
) -> bytes:
    """A byte for each blob, 1 where the file has it in its place already; all 0 if it cannot be read."""
    try:
        descriptor = os.open(name, READ_FLAGS, dir_fd=state.target.open_folder(folder))
    except OSError:
        return bytes(len(blobs))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return bytes(len(blobs))
        return matching_blobs(descriptor, offset, blobs, state.scratch)
    except OSError:
        return bytes(len(blobs))
    finally:
        os.close(descriptor)


def _each(items: Sequence[tuple[int, bytes, bytes]], act: Callable[[bytes, bytes], None]) -> list[Failure]:
    failures: list[Failure] = []
    for number, folder, raw in items:
        try:
            act(folder, raw)
        except (OSError, IntegrityError) as error:
            failures.append((number, _reason(error, folder)))
    return failures


def _write_whole(state: WorkerState, folder: bytes, record: Record, data: Buffer, is_sparse: bool) -> None:
    descriptor = _create(state, folder, record.name)
    try:
        try:
            if is_sparse and data:
                os.ftruncate(descriptor, len(data))
                write_sparsely_at(descriptor, memoryview(data), 0)
            elif data and (written := os.write(descriptor, data)) < len(data):
                write_at(descriptor, memoryview(data)[written:], written)
        except OSError:
            os.unlink(record.name, dir_fd=state.target.open_folder(folder))
            raise
        restore_metadata(descriptor, record, state.policy)
    finally:
        os.close(descriptor)


def _write_part(state: WorkerState, file: PartialFile, data: Buffer, offset: int) -> None:
    folder, name, identity, is_sparse = file
    data = memoryview(data)
    descriptor = _open_known(state, folder, name, identity, WRITE_FLAGS)
    try:
        if is_sparse:
            write_sparsely_at(descriptor, data, offset)
        else:
            write_at(descriptor, data, offset)
    finally:
        os.close(descriptor)


def _create(state: WorkerState, folder: bytes, name: bytes) -> int:
    """A new file, never one that was there: so nobody can plant a link for us to write through."""
    try:
        return os.open(name, CREATE_FLAGS, PRIVATE_MODE, dir_fd=state.target.open_folder(folder))
    except FileExistsError:
        state.target.clear(folder, name)
    return os.open(name, CREATE_FLAGS, PRIVATE_MODE, dir_fd=state.target.open_folder(folder))


def _open_existing(state: WorkerState, folder: bytes, name: bytes) -> int:
    descriptor = _open_ours(state, folder, name, WRITE_FLAGS)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EEXIST, "was changed by another program while it was restored")


def _open_known(state: WorkerState, folder: bytes, name: bytes, identity: Identity, flags: int) -> int:
    """The file that we created or compared, and no other."""
    descriptor = _open_ours(state, folder, name, flags)
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) == identity:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EEXIST, "was replaced by another program while it was restored")


def _open_ours(state: WorkerState, folder: bytes, name: bytes, flags: int) -> int:
    """Open; a file whose mode denies it gets another one, for its own is restored later."""
    parent = state.target.open_folder(folder)
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        filesystem.set_mode(name, PRIVATE_MODE, dir_fd=parent)
    return os.open(name, flags, dir_fd=parent)


def _create_special(state: WorkerState, folder: bytes, record: Record, link_target: bytes, device: int) -> None:
    parent = state.target.open_folder(folder)
    kind = stat.S_IFMT(record.mode)
    for last_try in (False, True):
        try:
            if kind == stat.S_IFLNK:
                os.symlink(link_target, record.name, dir_fd=parent)
            else:
                filesystem.make_node(record.name, kind | PRIVATE_MODE, device, dir_fd=parent)
            break
        except FileExistsError:
            if last_try:
                raise
            state.target.clear(folder, record.name)
            parent = state.target.open_folder(folder)
    restore_metadata_at(parent, join(state.root_path, folder), record, state.policy)


def _reason(error: OSError | IntegrityError, path: bytes) -> str:
    """What the user is told; a full disk ends the restore."""
    if isinstance(error, IntegrityError):
        return str(error)
    if error.errno in _FULL:
        raise DiskFullError(error.errno, error.strerror, os.fsdecode(path)) from error
    return error.strerror or str(error)

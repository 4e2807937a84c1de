"""`SourceConformance`: what every source must do, as a pytest class to inherit from.

class TestMySource(SourceConformance):
    @pytest.fixture
    def source(self) -> Iterator[Source]:
        source = MySource.open(SourceRequest(...))
        yield source
        source.close()

The source must have something to deliver. Override `bad_request` with a request that `open`, `begin` or `targets`
refuses.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from stat import S_ISDIR, S_ISLNK, S_ISREG

import pytest

from limpet.contracts.source import SOURCE_CONTRACT, Entry, Folder, Source, SourceRequest
from limpet.errors import SourceError, UsageError
from limpet.testing.declarations import check_declared_options, check_stated_contract

READ_BYTES = 1 << 16


class SourceConformance:
    """Inherit, and give the fixtures `source` and, for the errors, `bad_request`."""

    @pytest.fixture
    @abstractmethod
    def source(self) -> Iterator[Source]:
        """An open source with at least one target; closed afterwards."""

    @pytest.fixture
    @abstractmethod
    def bad_request(self) -> SourceRequest:
        """A request that cannot be met: nothing is there, or it makes no sense."""

    @pytest.fixture(autouse=True)
    def begun(self, source: Source) -> None:
        """As a first backup does: it tells of no parent before it asks for anything."""
        source.begin(None)

    def test_states_the_contract_it_was_built_for(self, source: Source) -> None:
        """A source of another contract version would be called in a way that it does not understand."""
        check_stated_contract(type(source), SOURCE_CONTRACT)

    def test_options_are_well_declared(self, source: Source) -> None:
        """A bad declaration breaks `-o`, the help and the docs at once."""
        check_declared_options(type(source).options)

    def test_names_what_the_snapshot_records(self, source: Source) -> None:
        """Without paths in the snapshot the next backup would not find its parent."""
        paths = source.snapshot_paths
        assert paths
        assert all(isinstance(path, str) and path for path in paths)

    def test_targets_are_absolute_and_distinct(self, source: Source) -> None:
        """Two targets at one place, or one at none, cannot be put into one tree."""
        paths = [target.path for target in source.targets()]
        assert paths
        assert len(set(paths)) == len(paths)
        for target in source.targets():
            assert_is_snapshot_path(target.path)
            assert target.entry.name == target.path.rpartition(b"/")[2]

    def test_targets_stay_the_same(self, source: Source) -> None:
        """The scan and the backup must mean the same things."""
        assert [target.path for target in source.targets()] == [target.path for target in source.targets()]

    def test_names_are_sorted_and_unique_in_each_folder(self, source: Source) -> None:
        """A tree with names out of order or twice is refused by restic, and its id would differ by chance."""
        for folder in all_folders(source):
            names = [entry.name for entry in folder.entries]
            assert names == sorted(set(names)), folder.path
            assert not {name for name in names if name in {b"", b".", b".."} or b"/" in name or b"\0" in name}

    def test_a_folder_comes_once_and_before_what_is_in_it(self, source: Source) -> None:
        """The core makes room for a folder when it sees its entry: one that was never announced has no place."""
        for target in source.targets():
            announced = {target.path}
            for folder in source.folders(target):
                assert_is_snapshot_path(folder.path)
                assert folder.path in announced, "not announced, or yielded twice"
                announced.remove(folder.path)
                announced.update(_join(folder.path, entry.name) for entry in folder.entries if _is_folder(entry))

    def test_only_folders_have_folders(self, source: Source) -> None:
        """A file with entries cannot be stored."""
        for target in source.targets():
            if not _is_folder(target.entry):
                assert list(source.folders(target)) == []

    def test_what_is_real_can_be_found_and_what_is_not_brings_its_own(self, source: Source) -> None:
        """An entry with neither a path nor a stream would be lost."""
        for open_path, entry in all_entries(source):
            if entry.made or entry.stream is not None:
                assert not S_ISREG(entry.stat.st_mode) or entry.stream is not None
                assert not S_ISLNK(entry.stat.st_mode) or entry.link_target is not None
            else:
                assert open_path is not None, entry.name
                assert os.path.isabs(open_path)
                assert entry.subfolder_path is None or os.path.isabs(entry.subfolder_path)

    def test_status_is_complete(self, source: Source) -> None:
        """Every node needs these; a missing one would fail late, in the middle of a backup."""
        for _open_path, entry in all_entries(source):
            status = entry.stat
            numbers = (
                status.st_mode, status.st_ino, status.st_dev, status.st_nlink, status.st_uid, status.st_gid,
                status.st_size, status.st_mtime_ns, status.st_atime_ns, status.st_ctime_ns, status.st_rdev,
            )  # fmt: skip
            assert all(isinstance(number, int) for number in numbers)
            assert status.st_size >= 0

    def test_streams_give_bytes_to_their_end_and_close(self, source: Source) -> None:
        """The core reads a stream once, in pieces, and closes it: also one that it gives up half-way."""
        for _open_path, entry in all_entries(source):
            if entry.stream is not None:
                with entry.stream() as stream:
                    while piece := stream.read(READ_BYTES):
                        assert isinstance(piece, bytes)
                        assert len(piece) <= READ_BYTES
                    assert stream.read(READ_BYTES) == b"", "a stream at its end stays there"

    def test_scan_counts(self, source: Source) -> None:
        """Totals below zero or of another type would break the progress bar."""
        files, size_bytes = source.scan()
        assert files >= 0
        assert size_bytes >= 0

    def test_finish_accepts_a_source_that_was_read(self, source: Source) -> None:
        """A source that cannot say that all went well would never become a snapshot."""
        read_all(source)
        source.finish()

    def test_close_is_idempotent(self, source: Source) -> None:
        """The core closes after a failure too, when something may have closed already."""
        source.targets()
        source.close()
        source.close()

    def test_close_in_the_middle(self, source: Source) -> None:
        """An aborted backup closes a source that it has hardly begun to read."""
        for target in source.targets():
            folders = source.folders(target)
            next(folders, None)
            source.close()
            break

    def test_leaves_no_descriptor_open(self, source: Source) -> None:
        """A backup of many folders would run out of descriptors."""
        before = open_descriptors()
        read_all(source)
        source.finish()
        source.close()
        assert open_descriptors() - before == set()

    def test_errors_are_typed(self, source: Source, bad_request: SourceRequest) -> None:
        """A user sees one line instead of a traceback only for documented errors."""
        with pytest.raises((UsageError, SourceError)) as caught:
            deliver(type(source), bad_request)
        assert str(caught.value)
        assert "\n" not in str(caught.value)


def deliver(kind: type[Source], request: SourceRequest) -> None:
    """Open, begin without a parent, read all, finish, close."""
    source = kind.open(request)
    try:
        source.begin(None)
        read_all(source)
        source.finish()
    finally:
        source.close()


def read_all(source: Source) -> None:
    """Everything the source has, streams to their end."""
    for _open_path, entry in all_entries(source):
        if entry.stream is not None:
            with entry.stream() as stream:
                while stream.read(READ_BYTES):
                    pass


def all_folders(source: Source) -> Iterator[Folder]:
    """The folders of all targets."""
    for target in source.targets():
        yield from source.folders(target)


def all_entries(source: Source) -> Iterator[tuple[bytes | None, Entry]]:
    """Each entry with the real path of its folder: the targets themselves and all below them."""
    for target in source.targets():
        yield target.open_path, target.entry
        for folder in source.folders(target):
            for entry in folder.entries:
                yield folder.open_path, entry


def assert_is_snapshot_path(path: bytes) -> None:
    """Absolute, without empty, `.` or `..` components."""
    assert path.startswith(b"/")
    assert path == b"/" or not {b"", b".", b".."} & set(path[1:].split(b"/")), path


def open_descriptors() -> set[tuple[int, str]]:
    """What this process has open, with where it leads; empty where the system does not tell."""
    found = set()
    for number in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found.add((int(number), os.readlink(f"/proc/self/fd/{number}")))
        except OSError:
            continue  # the listing's own
    return found


def _is_folder(entry: Entry) -> bool:
    return S_ISDIR(entry.stat.st_mode)


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + name if folder == b"/" else folder + b"/" + name

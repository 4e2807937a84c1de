"""Content of files out of a container: many by one run of tar, in exactly the order in which the core wants them.

The names of a batch are known before its run starts, for the folders come from a listing. The core asks for streams in
the order of the entries, but with several threads: each waits for its turn, and reads straight from the connection, so
nothing is held in memory, and a core that is slow slows tar. That cannot lock up: what has its turn was asked for
first.
"""

from __future__ import annotations

import errno
import io
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from stat import S_ISREG
from typing import BinaryIO, cast

from limpet.contracts.source import Entry, Folder
from limpet.errors import SourceError

from limpet_source_kubernetes.archive import ArchiveReader, Member
from limpet_source_kubernetes.remote import RemoteCommand
from limpet_source_kubernetes.scripts import COMPLAINED

NAMES_BYTES = 1 << 20
"""So many bytes of names make a batch: a run costs some 50 to 100 ms before its first byte."""
_BUFFER_BYTES = 1 << 18

Start = Callable[[bytes], RemoteCommand]
"""Starts the reading of NUL-separated names."""
Complain = Callable[[str], None]
"""Takes what tar said about the files of a batch, where all of them came all the same."""


class Batch:
    """Files that one run of tar reads."""

    def __init__(self, what: str, start: Start, complain: Complain, ended: Callable[[], None]) -> None:
        self._what = what
        self._start = start
        self._complain = complain
        self._ended = ended
        self._names: list[bytes] = []
        self._names_size_bytes = 0
        self._places: dict[bytes, int] = {}
        self._hard_links: set[tuple[int, int]] = set()
        self._changed = threading.Condition()
        self._turn = 0
        self._problem: SourceError | None = None
        self._has_ended = False
        self._command: RemoteCommand | None = None
        self._archive: ArchiveReader | None = None
        self._ahead: Member | None = None
        """A member of the archive that comes after the one whose turn it is."""
        self._missing = 0

    def takes(self, name: bytes, entry: Entry) -> bool:
        """Whether the file fits; tar writes the second name of a file as a mere link, so that one does not."""
        status = entry.stat
        return not self._names or (
            self._names_size_bytes + len(name) < NAMES_BYTES
            and not (status.st_nlink > 1 and (status.st_dev, status.st_ino) in self._hard_links)
        )

    def add(self, name: bytes, entry: Entry) -> None:
        """Take in a file by its path from the volume's root, and give its entry a stream."""
        place = len(self._names)
        self._names.append(name)
        self._names_size_bytes += len(name) + 1
        if entry.stat.st_nlink > 1:
            self._hard_links.add((entry.stat.st_dev, entry.stat.st_ino))
        entry.stream = lambda: cast("BinaryIO", io.BufferedReader(_FileStream(self, place), _BUFFER_BYTES))

    def check(self) -> None:
        """SourceError if not everything in it was read, or can be trusted."""
        self._raise_problem()
        if self._names and not self._has_ended:
            raise SourceError(f"{self._what}: the files were not read to their end")

    def stop(self, problem: SourceError | None = None) -> None:
        """Give up: whoever reads, or waits for his turn, fails at once. Idempotent."""
        with self._changed:
            if not self._has_ended and self._problem is None:
                self._problem = problem or SourceError(f"{self._what}: reading was stopped")
            if self._command is not None:
                self._command.stop()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop, and free the connection. Idempotent."""
        self.stop()
        if self._command is not None:
            self._command.close()

    # -- for the streams ----------------------------------------------------------------------------------------

    def begin(self, place: int) -> None:
        """Wait for the turn of a file and go to its content; FileNotFoundError if tar does not deliver it."""
        with self._changed:
            self._changed.wait_for(lambda: self._problem is not None or self._turn == place)
            self._raise_problem()
        with self._trusted():
            if self._is_found(place):
                return
            self._missing += 1
            said = f" ({self._command.last_words})" if self._command is not None and self._command.last_words else ""
            self._pass_on()
        raise FileNotFoundError(errno.ENOENT, f"not there any more, or not to be read, when tar came to it{said}")

    def readinto(self, buffer: memoryview) -> int:
        """Content of the file whose turn it is; at its end the turn is the next one's."""
        assert self._archive is not None
        with self._trusted():
            count = self._archive.readinto(buffer)
            if not count:
                self._pass_on()
        return count

    def _raise_problem(self) -> None:
        if self._problem is not None:
            raise SourceError(str(self._problem)) from self._problem

    @contextmanager
    def _trusted(self) -> Iterator[None]:
        """What fails here fails everybody: the files read so far were only good if tar ended well."""
        try:
            yield
        except SourceError as error:
            self.stop(error)
            raise

    def _is_found(self, place: int) -> bool:
        """Go to the member of that place; False if the archive goes on with a later one, or has ended."""
        archive = self._archive or self._begin_archive()
        while True:
            member = self._ahead or archive.next()
            self._ahead = None
            if member is None:
                return False
            found = self._places.get(member.name, -1)
            if found > place:
                self._ahead = member
                return False
            if found == place:
                return member.is_regular

    def _begin_archive(self) -> ArchiveReader:
        self._places = {name: place for place, name in enumerate(self._names)}
        command = self._start(b"".join(name + b"\0" for name in self._names))
        with self._changed:
            self._command = command
            if self._problem is not None:
                command.stop()
        self._archive = ArchiveReader(cast("BinaryIO", io.BufferedReader(command, _BUFFER_BYTES)), self._what)
        return self._archive

    def _pass_on(self) -> None:
        """The turn is the next one's; after the last one see how tar has ended."""
        if self._turn + 1 == len(self._names):
            self._end()
        with self._changed:
            self._turn += 1
            self._changed.notify_all()

    def _end(self) -> None:
        assert self._archive is not None
        assert self._command is not None
        while self._archive.next() is not None:
            continue
        code, said = self._command.wait(), self._command.last_words
        self._command.close()
        reason = f": {said}" if said else ""
        if code not in (0, COMPLAINED):
            raise SourceError(f"{self._what}: tar failed in the container: exit status {code}{reason}")
        if code == 0 and self._missing:
            raise SourceError(f"{self._what}: tar left files out without saying why{reason}")
        if code == COMPLAINED and not self._missing:
            self._complain(f"{self._what}: a file has changed while it was read{reason}")
        self._has_ended = True
        self._ended()


class _FileStream(io.RawIOBase):
    """The content of one file of a batch."""

    def __init__(self, batch: Batch, place: int) -> None:
        super().__init__()
        self._batch = batch
        self._place = place
        self._has_begun = False
        self._at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._at_end:
            return 0
        if not self._has_begun:
            self._has_begun = True
            try:
                self._batch.begin(self._place)
            except OSError:
                self._at_end = True
                raise
        count = self._batch.readinto(buffer)
        self._at_end = count == 0
        return count

    def close(self) -> None:
        """One that is given up half-way takes the others with it: what follows in the archive is not reached."""
        if not self.closed and not self._at_end:
            self._batch.stop()
        super().close()


def in_batches(folders: Iterable[tuple[bytes, Folder]], begin_batch: Callable[[], Batch]) -> Iterator[Folder]:
    """The folders, each with its path from the volume's root, once the batches that their files are in are complete."""
    waiting: deque[tuple[Folder, Batch | None]] = deque()
    batch: Batch | None = None
    for path, folder in folders:
        for entry in folder.entries:
            if S_ISREG(entry.stat.st_mode):
                name = path + b"/" + entry.name
                if batch is None or not batch.takes(name, entry):
                    batch = begin_batch()
                batch.add(name, entry)
        waiting.append((folder, batch))
        while waiting and waiting[0][1] is not batch:
            yield waiting.popleft()[0]
    for folder, _ in waiting:
        yield folder

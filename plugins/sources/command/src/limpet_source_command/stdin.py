"""`StdinSource`: what is piped into the backup becomes one file of the snapshot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO, ClassVar, Self

from limpet.contracts.made_file import DEFAULT_FILENAME, absolute_path, stream_target
from limpet.contracts.options import Option
from limpet.contracts.reading import StoppableReader
from limpet.contracts.source import Source, SourceRequest, Target
from limpet.errors import SourceError, UsageError

STDIN = 0


class StdinSource(Source):
    """Standard input, read once until its end."""

    contract_version: ClassVar[int] = 1
    has_parent: ClassVar[bool] = False
    options: ClassVar[Sequence[Option]] = (
        Option("filename", "name of the file in the snapshot, may hold folders", default=DEFAULT_FILENAME),
    )

    def __init__(self, path: str, time_ns: int | None = None) -> None:
        self._path = path
        self._time_ns = time_ns
        self._reader: StoppableReader | None = None

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for targets, which standard input has none of, or a bad file name."""
        if any(request.targets):
            raise UsageError("--stdin was specified and files/dirs were listed as arguments")
        return cls(absolute_path(str(request.options.get("filename") or DEFAULT_FILENAME)), request.time_ns)

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return [self._path]

    def targets(self) -> Sequence[Target]:
        """The one file; SourceError if standard input is closed."""
        try:
            os.fstat(STDIN)
        except OSError as error:
            raise SourceError("standard input is closed, there is nothing to read") from error
        return [stream_target(self._path, self._open_stream, self._time_ns)]

    def scan(self) -> tuple[int, int]:
        """One file, and nobody knows how many bytes."""
        return 1, 0

    def finish(self) -> None:
        """SourceError if reading began and did not come to the end of the input."""
        if self._reader is not None and not self._reader.at_end:
            raise SourceError("standard input was not read to its end")

    def close(self) -> None:
        """End a read that still waits. Standard input itself stays as it is."""
        if self._reader is not None:
            self._reader.stop()

    def _open_stream(self) -> BinaryIO:
        if self._reader is not None:
            raise SourceError("standard input can only be read once")
        self._reader = StoppableReader(STDIN, "stdin", owns_descriptor=False)
        return self._reader.buffered()

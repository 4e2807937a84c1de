"""Lets a run go on when its terminal is closed: what would be shown there is dropped."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Screen(io.FileIO):
    """A descriptor of a terminal. Writing to one that is gone fails with EIO, as SIGHUP says or not."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            _lead_nowhere(self.fileno())
            return memoryview(data).nbytes


def outlive_terminal() -> None:
    """Have standard output and error outlive the terminal they are on. No change where they are files or pipes."""
    sys.stdout = _outliving(sys.stdout)
    sys.stderr = _outliving(sys.stderr)


def _outliving(stream: TextIO) -> TextIO:
    try:
        descriptor = stream.fileno()
        if not os.isatty(descriptor) or not isinstance(stream, io.TextIOWrapper):
            return stream
    except (AttributeError, OSError, ValueError):  # none at all, or none of a real file
        return stream
    stream.flush()
    buffered = io.BufferedWriter(_Screen(descriptor, "w", closefd=False))
    return io.TextIOWrapper(buffered, stream.encoding, stream.errors, line_buffering=True)


def _lead_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)

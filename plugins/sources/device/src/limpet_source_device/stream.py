"""`DeviceReader`: the content of a device, from begin to end or wherever it is sought."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

from limpet.errors import SourceError

from limpet_source_device.volume import VolumeReader


class DeviceReader(io.RawIOBase):
    """Reads `size_bytes` of a volume that it then owns. SourceError where they are not all there.

    `look` is asked before each read and raises where the content is worth nothing any more; `fail` makes an error of
    a text; `closed` is called once, at the end.
    """

    def __init__(
        self,
        volume: VolumeReader,
        name: str,
        size_bytes: int,
        *,
        look: Callable[[], None],
        fail: Callable[[str], SourceError],
        closed: Callable[[], None],
    ) -> None:
        super().__init__()
        self._volume = volume
        self._name = name
        self._size = size_bytes
        self._look = look
        self._fail = fail
        self._when_closed = closed
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Read on at the offset."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self._name}: there is nothing before byte 0")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """How many bytes were read: as many as there is room for, fewer only at the end."""
        self._look()
        view = memoryview(buffer).cast("B")
        wanted = max(min(len(view), self._size - self._position), 0)
        done = 0
        while done < wanted:
            done += self._read(view[done:wanted], self._position + done)
        self._position += done
        return done

    def close(self) -> None:
        """Let go of the volume, and say so."""
        if self.closed:
            return
        super().close()
        self._volume.close()
        self._when_closed()

    def _read(self, view: memoryview, offset: int) -> int:
        try:
            count = self._volume.read_into(view, offset)
        except OSError as error:
            raise self._fail(f"{self._name}: cannot be read at byte {offset}: {error.strerror}") from error
        if count == 0:
            raise self._fail(f"{self._name}: ends at byte {offset}, though it had {self._size} bytes before")
        return count

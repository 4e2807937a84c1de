"""`FolderListing`: what is in many folders of the server, all read at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from limpet.errors import BackendError

from limpet_backend_sftp.answers import encode_path, is_status
from limpet_backend_sftp.protocol import Attributes, Kind, Status, decode_names, string
from limpet_backend_sftp.session import Answer, Exchange, Session

READAHEAD = 2
"""Requests for the next entries of a folder: the second finds the end of a short one without another round trip."""


class FolderListing:
    """Folders being read at the same time."""

    def __init__(self, session: Session, exchange: Exchange, folders: Sequence[str]) -> None:
        self.found: list[dict[str, Attributes]] = [{} for _ in folders]
        self._session = session
        self._exchange = exchange
        self._opening = {
            exchange.send(Kind.OPENDIR, encode_path(folder)): index for index, folder in enumerate(folders)
        }
        self._reading: dict[int, int] = {}
        self._handles: dict[int, bytes] = {}

    def run(self) -> None:
        """Read all of them to their ends."""
        while self._exchange.outstanding:
            answer = self._exchange.receive()
            opened = self._opening.pop(answer.number, None)
            if opened is None:
                self._read(self._reading.pop(answer.number), answer)
            elif not is_status(answer, Status.NO_SUCH_FILE):
                self._handles[opened] = string(answer.expect(Kind.HANDLE).string())
                for _ in range(READAHEAD):
                    self._ask(opened)

    def close(self) -> None:
        """Close the folders that are still open: all of them where something went wrong."""
        for handle in self._handles.values():
            with contextlib.suppress(BackendError):
                self._session.post(Kind.CLOSE, handle)
        self._handles.clear()

    def _read(self, index: int, answer: Answer) -> None:
        if is_status(answer, Status.EOF):
            handle = self._handles.pop(index, None)
            if handle is not None:
                self._session.post(Kind.CLOSE, handle)
            return
        if answer.kind != Kind.NAME:
            answer.expect(Kind.NAME)
        for name, attributes in decode_names(answer.body):
            self.found[index][name.decode("utf-8", "surrogateescape")] = attributes
        if index in self._handles:
            self._ask(index)

    def _ask(self, index: int) -> None:
        self._reading[self._exchange.send(Kind.READDIR, self._handles[index])] = index

"""An upload as it comes in: hashed, counted, written and stored piece by piece, in worker threads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from limpet.contracts.backend import FileKind

from limpet_command_serve.body import Body
from limpet_command_serve.digest import sha256
from limpet_command_serve.exchange import Exchange, Refusal
from limpet_command_serve.names import StoredFile
from limpet_command_serve.policy import Policy, UploadGuard
from limpet_command_serve.store import Outcome, Store, Upload

BYTES_A_STEP = 8 << 20
PIECES_A_STEP = 256
"""Then others have their turn: a client may send each byte as a chunk of its own."""


class Receiving:
    """One upload. `close` in any case: without an outcome nothing of it is left."""

    def __init__(
        self,
        exchange: Exchange,
        file: StoredFile,
        body: Body,
        store: Store,
        policies: Sequence[Policy],
        *,
        verifies: bool,
    ) -> None:
        self._exchange = exchange
        self._file = file
        self._body = body
        self._store = store
        self._policies = policies
        self._digest = sha256() if verifies and file.kind is not FileKind.CONFIG else None
        self._closing = ExitStack()
        self._guards: list[UploadGuard] = []
        self._upload: Upload | None = None

    def begin(self, _buffer: memoryview) -> None:
        """Ask whether it may come, and make ready for it. Refusal, or an error of the store."""
        upload = self._closing.enter_context(self._store.begin(self._file, self._body.size_bytes))
        for policy in self._policies if upload.takes_room else ():
            guard = policy.begin_upload(self._exchange, self._body.size_bytes)
            if guard is not None:
                self._closing.enter_context(guard)
                self._guards.append(guard)
        self._upload = upload

    def step(self, buffer: memoryview, until_bytes: int) -> Outcome | None:
        """Take what has come until so many bytes of it have; the outcome when all has come and is stored.

        WouldBlock where nothing is there; Refusal where it is not what its name says, or where a policy says so.
        """
        if self._upload is None:
            self.begin(buffer)
        until_bytes = min(until_bytes, self._exchange.received_bytes + BYTES_A_STEP)
        pieces = 0
        while not self._body.is_complete:
            self._take(self._body.read(buffer))
            pieces += 1
            has_enough = pieces == PIECES_A_STEP or self._exchange.received_bytes >= until_bytes
            if has_enough and not self._body.is_complete:
                return None
        return self._finish()

    def close(self, _buffer: memoryview) -> None:
        """Let go of everything. Idempotent."""
        self._closing.close()

    def _finish(self) -> Outcome:
        if self._upload is None:
            raise ValueError("nothing has begun")
        is_new = self._upload.takes_room  # What is there already is compared byte by byte: its name says nothing more.
        if is_new and self._digest is not None and self._digest.digest().hex() != self._file.name:
            raise Refusal(400, "the content does not have the SHA-256 that is the file's name: it came damaged")
        outcome = self._upload.commit()
        if outcome is Outcome.STORED:
            self._exchange.stored_bytes = self._exchange.received_bytes
            for guard in self._guards:
                guard.keep(self._exchange.received_bytes)
        self._closing.close()
        return outcome

    def _take(self, piece: memoryview) -> None:
        self._exchange.received_bytes += len(piece)
        if self._digest is not None:
            self._digest.update(piece)
        for guard in self._guards:
            guard.count(len(piece))
        if self._upload is not None:
            self._upload.write(piece)

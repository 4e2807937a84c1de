"""Who may come in: users and passwords of an `.htpasswd` that may change while the server runs.

bcrypt is slow by design and every request carries the password. So it is done beside the event loop, once for all
requests that carry the same, and what was right is remembered for a minute as a keyed digest.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from limpet.contracts.guesses import Guesses, network_of
from limpet.errors import UsageError
from limpet.format.native import Sha256

from limpet_command_serve.htpasswd import Htpasswd, decode_htpasswd, hash_password, is_password
from limpet_command_serve.turns import Turns

REMEMBERED_S = 60.0
"""How long a right password is known without another look; prolonged by every use, as rest-server does."""
THREADS = 2
"""So many passwords are looked at together; the others wait, and the server serves on."""

Tell = Callable[[str], None]
Stamp = tuple[int, int, int]
Origin = tuple[str, str]
"""A user's name, and the network from which somebody says that he is that user."""


class WatchedFile:
    """A file that is read again when it has changed; a broken or vanished one is told, and the last good one counts.

    It is looked at for every request, which takes some microseconds: who was removed or limited is so at once.
    """

    def __init__(self, path: Path, take: Callable[[bytes], None], tell: Tell) -> None:
        self.path = path
        self._take = take
        self._tell = tell
        self._stamp: Stamp | None = None

    def read(self) -> None:
        """Read it now; UsageError if that cannot be, or if it makes no sense."""
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                data = file.read()
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror}") from error
        self._stamp = _stamp(status)
        self._take(data)

    def read_again(self) -> None:
        """Read it now, whether or not it has changed."""
        try:
            self.read()
        except UsageError as error:
            self._tell(f"{error}; what was in it before still counts")
        else:
            self._tell(f"{self.path} is read again")

    def read_if_changed(self) -> None:
        """Read it if it has changed."""
        stamp = None
        with suppress(OSError):
            stamp = _stamp(os.stat(self.path))
        if stamp != self._stamp:
            self._stamp = stamp
            self.read_again()


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


class Users:
    """The users of one `.htpasswd`. Of one event loop; `close` ends its threads."""

    def __init__(self, path: Path, tell: Tell, *, now: Callable[[], float] = time.monotonic) -> None:
        self._htpasswd = Htpasswd({})
        self._tell = tell
        self._now = now
        self._guesses = Guesses(now=now)
        self._turns = Turns()
        self._key = os.urandom(32)
        self._remembered: dict[Origin, tuple[bytes, float]] = {}
        """What was right, for the client alone who said it: nobody else may try his guesses against it uncounted."""
        self._running: dict[tuple[Origin, bytes], asyncio.Task[bool]] = {}
        self._threads = ThreadPoolExecutor(THREADS, "limpet-serve-password")
        self._nobody = ""
        """What is compared for names that do not exist, so that they cannot be told by the time it takes."""
        self._file = WatchedFile(path, self._take, tell)
        self._file.read()

    def __repr__(self) -> str:
        return f"Users({self._file.path})"

    def close(self) -> None:
        """End the threads; passwords that wait are not looked at any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def read_again(self) -> None:
        """Read the file now: SIGHUP."""
        self._file.read_again()

    async def verify(self, user: str, password: str, client: str) -> bool:
        """Whether it is the user's password. TooManyAttempts where the client has guessed too often."""
        self._file.read_if_changed()
        stored = self._htpasswd.hashes.get(user)
        secret = password.encode("utf-8", "surrogateescape")
        digest = self._digest(user, stored or "", secret)
        origin = user, network_of(client)
        if stored is not None and self._is_remembered(origin, digest):
            return True
        running = self._running.get((origin, digest))
        if running is None:
            self._guesses.begin(client, user)
            running = asyncio.create_task(self._look(user, stored, secret, client))
            self._running[origin, digest] = running
            running.add_done_callback(lambda _: self._running.pop((origin, digest), None))
        is_right = await asyncio.shield(running)
        self._file.read_if_changed()
        if stored != self._htpasswd.hashes.get(user):
            return False  # The user was removed meanwhile, perhaps with what limits his rights.
        if is_right:
            self._remember(origin, digest)
        return is_right

    async def _look(self, user: str, stored: str | None, secret: bytes, client: str) -> bool:
        """Compare in a thread, one password of a client after the other."""
        is_guess = False
        try:
            async with self._turns.turn(client):
                loop = asyncio.get_running_loop()
                is_guess = not await loop.run_in_executor(self._threads, self._compare, stored, secret)
        finally:
            if not is_guess:
                self._guesses.forget(client, user)
        return not is_guess

    def _compare(self, stored: str | None, secret: bytes) -> bool:
        if stored is not None:
            return is_password(stored, secret)
        self._nobody = self._nobody or hash_password(os.urandom(16).hex().encode())
        return is_password(self._nobody, secret) and False

    def _digest(self, user: str, stored: str, secret: bytes) -> bytes:
        """Stands for user, hash and password; means nothing outside this process, so it may be compared as it is."""
        parts = (user.encode("utf-8", "surrogateescape"), stored.encode(), secret)
        digest = Sha256()
        digest.update(self._key)
        for part in parts:
            digest.update(len(part).to_bytes(4, "little") + part)
        return digest.digest()

    def _is_remembered(self, origin: Origin, digest: bytes) -> bool:
        known = self._remembered.get(origin)
        if known is None or known[1] < self._now() or known[0] != digest:
            return False
        self._remembered[origin] = digest, self._now() + REMEMBERED_S
        return True

    def _remember(self, origin: Origin, digest: bytes) -> None:
        now_s = self._now()
        self._remembered = {other: known for other, known in self._remembered.items() if known[1] >= now_s}
        self._remembered[origin] = digest, now_s + REMEMBERED_S

    def _take(self, data: bytes) -> None:
        self._htpasswd = decode_htpasswd(data)
        self._remembered = {
            origin: known for origin, known in self._remembered.items() if origin[0] in self._htpasswd.hashes
        }
        for line in self._htpasswd.ignored:
            self._tell(f"{self._file.path}: {line}; it is ignored")

"""Re-hashes what is stored, slowly and for ever: a damaged file is found before it is needed.

Every file but the config is named by the SHA-256 of its content. The walk goes by path, remembers where it was over
restarts, and reports what is damaged until the file is whole again or gone.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from limpet.errors import BackendError, MissingFileError, UsageError
from limpet.format.native import Sha256
from limpet.storage.limit import TokenBucket

from limpet_command_serve.private_file import read_private, replace_private
from limpet_command_serve.quota import repository_of
from limpet_command_serve.verify_files import Files, Parts

REPORT_NAME = ".verify.json"
SAVE_EVERY_S = 30.0
PAUSE_S = 3600.0
"""Between two rounds, at least: a small server need not read its few files all day."""
AWAY_S = 60.0
"""Before another try, where the storage behind a gateway is away."""
NICEST = 19
END_LIMIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Damage:
    """One file that is not what its name says."""

    repository: str
    kind: str
    id: str
    problem: str
    size_bytes: int
    found_s: float

    def __str__(self) -> str:
        place = f" of repository {self.repository}" if self.repository else ""
        return f"{self.kind}/{self.id}{place} is damaged: {self.problem}"


@dataclass(frozen=True, slots=True)
class Round:
    """How far one walk over all files is, or how it ended."""

    started_s: float = 0.0
    ended_s: float | None = None
    files: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Report:
    """What is known, as it is in the JSON file. `position` is the path last looked at, empty between two rounds."""

    position: str = ""
    current: Round = field(default_factory=Round)
    last: Round | None = None
    damaged: dict[str, Damage] = field(default_factory=dict)
    """By path."""

    def document(self) -> dict[str, object]:
        """What is in the file."""
        return {"version": 1, **asdict(self)}

    def encode(self) -> bytes:
        """The JSON document."""
        return (json.dumps(self.document(), indent=2) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Report:
        """The report; ValueError for what is none."""
        try:
            document = json.loads(data)
            return cls(
                document["position"],
                Round(**document["current"]),
                None if document["last"] is None else Round(**document["last"]),
                {path: Damage(**damage) for path, damage in document["damaged"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("it is no report of verify") from error


class Verifier:
    """Looks at every file, from where the report says on."""

    def __init__(
        self,
        files: Files,
        *,
        rate_bps: float | None,
        tell: Callable[[str], None],
        report_path: Path | None = None,
        pause_s: float = PAUSE_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._tell = tell
        self._report_path = report_path
        self._pause_s = pause_s
        self._now = now
        self._stopping = threading.Event()
        self._bucket = TokenBucket(rate_bps, sleep=self._stopping.wait) if rate_bps else None
        self._thread: threading.Thread | None = None
        self._saved_at = time.monotonic()
        self.report = self._known_report()

    def start(self) -> None:
        """Begin in a thread of low priority."""
        self._thread = threading.Thread(target=self._run, name="limpet-serve-verify", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End soon; the report says where. A disk that hangs is not waited for. Idempotent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(END_LIMIT_S)
            self._thread = None

    def run_round(self) -> bool:
        """Look at all files that this round has not seen yet; whether it came to its end."""
        report = self.report
        if not report.position:
            report.current = Round(started_s=self._now())
        for parts in self._files.after(tuple(report.position.split("/")) if report.position else ()):
            if not self._look(parts):
                self._save()
                return False
            if time.monotonic() - self._saved_at > SAVE_EVERY_S:
                self._save()
        ended = replace(report.current, ended_s=self._now())
        report.last, report.current, report.position = ended, ended, ""
        # What was not seen damaged in this round is whole again or gone.
        for path, damage in list(report.damaged.items()):
            if damage.found_s < ended.started_s:
                del report.damaged[path]
        self._save()
        return True

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # Where a thread has no priority of its own.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICEST)
        while not self._stopping.is_set():
            try:
                if self.run_round():
                    self._stopping.wait(self._pause_s)
            except BackendError as error:  # The storage is away: that is no damage, and it comes back.
                self._save()
                if not self._stopping.is_set():
                    self._tell(f"verify: {error}; it goes on later")
                self._stopping.wait(AWAY_S)

    def _look(self, parts: Parts) -> bool:
        """Hash one file and note what it is; whether that came to its end before `stop`."""
        path, size_bytes = "/".join(parts), 0
        try:
            hashed = self._hash(parts)
        except (FileNotFoundError, MissingFileError):
            self.report.position = path
            return True
        except OSError as error:
            self._note(parts, f"it cannot be read: {error.strerror}", 0)
        except BackendError as error:
            if not error.permanent:
                raise
            self._note(parts, f"it cannot be read: {error}", 0)
        else:
            if hashed is None:
                return False
            digest, size_bytes = hashed
            if digest != parts[-1]:
                self._note(parts, f"its content has the SHA-256 {digest}", size_bytes)
            elif self.report.damaged.pop(path, None):
                self._tell(f"verify: {path} is whole again")
        current = self.report.current
        self.report.current = replace(current, files=current.files + 1, bytes=current.bytes + size_bytes)
        self.report.position = path
        return True

    def _hash(self, parts: Parts) -> tuple[str, int] | None:
        """SHA-256 and size of the file; None where `stop` was called meanwhile."""
        digest, size = Sha256(), 0
        for piece in self._files.pieces(parts):
            digest.update(piece)
            size += len(piece)
            if self._bucket is not None:
                self._bucket.take(len(piece))
            if self._stopping.is_set():
                return None
        return digest.digest().hex(), size

    def _note(self, parts: Parts, problem: str, size_bytes: int) -> None:
        folders = repository_of(parts)
        path = "/".join(parts)
        damage = Damage("/".join(folders), parts[len(folders)], parts[-1], problem, size_bytes, self._now())
        known = self.report.damaged.get(path)
        self.report.damaged[path] = damage
        if known is None or known.problem != problem:
            self._tell(f"verify: {damage}")

    def _known_report(self) -> Report:
        data = None if self._report_path is None else read_private(self._report_path)
        if data is None:
            return Report()
        try:
            return Report.decode(data)
        except ValueError:
            self._tell(f"verify: {self._report_path} is not readable as a report, it begins anew")
            return Report()

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self._report_path is None:
            return
        try:
            replace_private(self._report_path, self.report.encode())
        except UsageError as error:
            self._tell(f"verify: {error}")

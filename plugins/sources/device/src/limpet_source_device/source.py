"""`DeviceSource`: block devices and images, each one regular file of the snapshot."""

from __future__ import annotations

import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from limpet.contracts.destination import Destination
from limpet.contracts.options import Option
from limpet.contracts.source import Entry, MadeStat, ParentInfo, Source, SourceRequest, Target
from limpet.errors import SourceError, UsageError
from limpet.progress import SilentReporter

from limpet_source_device.address import local_path
from limpet_source_device.changed_list import load_changed_list
from limpet_source_device.content import DeviceContent, Settings
from limpet_source_device.destination import DeviceDestination
from limpet_source_device.freeze import Freezer
from limpet_source_device.remembered import Memories, default_folder

FREEZE_LIMIT_S = 300


class DeviceSource(Source):
    """Devices and images, read from begin to end without what need not be read."""

    contract_version: ClassVar[int] = 1
    reads_frozen: ClassVar[bool] = True
    destination: ClassVar[type[Destination] | None] = DeviceDestination
    options: ClassVar[Sequence[Option]] = (
        Option("freeze", "keep the file systems on it from being written to while it is read", "boolean", False),
        Option(
            "freeze_limit",
            "thaw after this time whatever happens; the backup fails then",
            "duration",
            FREEZE_LIMIT_S,
        ),
        Option("allow_mounted", "back it up though it is in use; the copy may be torn", "boolean", False),
        Option("changed", "file with the list of ranges that changed since a snapshot"),
        Option("follow", "ask dm-era and thin volumes what has changed since the parent snapshot", "boolean", True),
        Option("state", "folder in which is kept what following changes needs (default: the user's state folder)"),
        Option("verify", "restore: read the device again and compare", "boolean", False),
    )

    def __init__(self, request: SourceRequest, contents: Sequence[DeviceContent], memories: Memories) -> None:
        self._contents = contents
        self._memories = memories
        self._reporter = request.reporter or SilentReporter()
        self._time_ns = time.time_ns() if request.time_ns is None else request.time_ns

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for what is not there, cannot be read, or is in use. Nothing is done to it."""
        options = request.options
        changed = options.get("changed")
        if changed and len(request.targets) != 1:
            raise UsageError("device.changed: a list of changes is of one device, and this backup has several")
        settings = Settings(
            freeze=bool(options.get("freeze")),
            freezer=Freezer(float(options.get("freeze_limit") or FREEZE_LIMIT_S)),
            allow_mounted=bool(options.get("allow_mounted")),
            follow=options.get("follow") is not False,
            changed=load_changed_list(str(changed)) if changed else None,
            own_places=request.own_places,
            reporter=request.reporter or SilentReporter(),
        )
        if not request.targets:
            raise UsageError("device: names no device: write device:///dev/NAME, or device:/PATH for an image")
        contents = []
        for target in request.targets:
            path = local_path(target)
            contents.append(DeviceContent(path, request.read_from.get(target, path), settings))
        paths = [content.path for content in contents]
        if len(set(paths)) < len(paths):
            raise UsageError(f"a device is named twice: {', '.join(paths)}")
        state = options.get("state")
        return cls(request, contents, Memories(Path(str(state)) if state else default_folder()))

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return [content.snapshot_path for content in self._contents]

    def begin(self, parent: ParentInfo | None) -> None:
        """Recall what was kept with the parent."""
        if parent is not None:
            recalled = self._memories.recall(parent.id)
            for content in self._contents:
                content.begin(parent.id, recalled.get(content.path))

    def targets(self) -> Sequence[Target]:
        """One file for each."""
        return [self._target(content) for content in self._contents]

    def scan(self) -> tuple[int, int]:
        """All their bytes."""
        return len(self._contents), sum(content.facts.size_bytes for content in self._contents)

    def finish(self) -> None:
        """SourceError for every one whose content cannot be trusted."""
        failures = {content.snapshot_path: problem for content in self._contents if (problem := content.problem())}
        if failures:
            raise SourceError("; ".join(failures.values()), targets=list(failures))

    def saved(self, snapshot_id: str) -> None:
        """Keep what the next backup wants to know."""
        memories = {
            content.path: content.memory
            for content in self._contents
            if content.memory is not None and content.problem() is None
        }
        try:
            self._memories.keep(snapshot_id, memories)
        except SourceError as error:
            self._reporter.warning(f"{error}; the next backup will read all of it")

    def close(self) -> None:
        """Thaw what is frozen, release all."""
        for content in self._contents:
            content.close()

    def _target(self, content: DeviceContent) -> Target:
        facts = content.facts
        status = facts.status
        made = MadeStat(
            stat.S_IFREG | stat.S_IMODE(status.st_mode),
            self._time_ns if facts.is_device else status.st_mtime_ns,
            facts.size_bytes,
            status.st_uid,
            status.st_gid,
        )
        path = content.snapshot_path.encode(errors="surrogateescape")
        entry = Entry(path.rpartition(b"/")[2], made, stream=content.open_stream, extents=content.extents, made=True)
        return Target(path, entry)

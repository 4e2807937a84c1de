"""`DeviceContent`: one device or image on its way into a snapshot, from what is known of it to its last byte."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, cast, overload

from limpet.contracts.source import Extent
from limpet.errors import SourceError, UsageError
from limpet.progress import Reporter

from limpet_source_device import devicemapper
from limpet_source_device.address import snapshot_path
from limpet_source_device.changed_list import ChangedList
from limpet_source_device.era import KIND as ERA
from limpet_source_device.era import follow_era
from limpet_source_device.following import Followed
from limpet_source_device.freeze import Freeze, Freezer, refuse_own_places
from limpet_source_device.ranges import Range, extents, merged, rest_of
from limpet_source_device.samples import contradiction, take_samples
from limpet_source_device.stream import DeviceReader
from limpet_source_device.thin import KIND as THIN
from limpet_source_device.thin import follow_thin
from limpet_source_device.usage import Usage, usage_of
from limpet_source_device.volume import (
    VolumeFacts,
    VolumeReader,
    holes_of_file,
    holes_of_loop_device,
    look_at,
)

Follow = Callable[[devicemapper.MappedDevice, int, Mapping[str, Any] | None], Followed]
WAYS: Mapping[str, Follow] = {ERA: follow_era, THIN: follow_thin}
"""Ways of following changes, by the kind of mapped device."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user wants."""

    freeze: bool
    freezer: Freezer
    allow_mounted: bool
    follow: bool
    changed: ChangedList | None
    own_places: Sequence[str]
    reporter: Reporter


class DeviceContent:
    """Prepared (frozen, looked at) when its extents or its stream are asked for first, thawed when it was read."""

    def __init__(self, path: str, read_from: str, settings: Settings) -> None:
        """UsageError where it cannot be backed up like this. Nothing is done to it yet."""
        self.path = path
        self.snapshot_path = snapshot_path(path)
        self._place = read_from
        self._settings = settings
        self._parent_id = ""
        self._remembered: Mapping[str, Any] | None = None
        self.memory: Mapping[str, Any] | None = None
        """What to remember of the snapshot."""
        self.failure: str | None = None
        self._frozen: Freeze | None = None
        self._extents: list[Extent] | None = None
        self._lock = threading.RLock()
        self._volume: VolumeReader | None = None
        self._reader: DeviceReader | None = None
        self._prepared: os.stat_result | None = None
        try:
            self.facts: VolumeFacts = look_at(self._place)
        except OSError as error:
            raise UsageError(f"{self._place}: {error.strerror}") from error
        self._check_usage(self._usage())

    def begin(self, parent_id: str, remembered: Mapping[str, Any] | None) -> None:
        """Told which snapshot the parent is, and what is remembered of it."""
        self._parent_id = parent_id
        self._remembered = remembered

    @property
    def extents(self) -> Sequence[Extent]:
        """What need not be read; known only once somebody looks."""
        return LateExtents(self)

    def known_extents(self) -> list[Extent]:
        """The same, now. SourceError where the device cannot be frozen or read."""
        with self._lock:
            self._prepare()
            assert self._extents is not None
            return self._extents

    def open_stream(self) -> BinaryIO:
        """The content, once."""
        with self._lock:
            if self._reader is not None:
                raise self._error(f"{self.path} can only be read once")
            self._prepare()
            assert self._volume is not None
            volume, self._volume = self._volume, None
            self._reader = DeviceReader(
                volume,
                self._place,
                self.facts.size_bytes,
                look=self._look,
                fail=self._error,
                closed=self._read_out,
            )
            return cast(BinaryIO, self._reader)

    def problem(self) -> str | None:
        """Why what was read cannot be trusted; None if it can."""
        with self._lock:
            return self.failure

    def close(self) -> None:
        """Thaw, and release all. Idempotent."""
        with self._lock:
            self._thaw()
            if self._volume is not None:
                self._volume.close()
                self._volume = None

    # -- before it is read --------------------------------------------------------------------------------------

    def _usage(self) -> Usage:
        try:
            return usage_of(self._place, self.facts)
        except OSError as error:
            raise UsageError(f"{self._place}: cannot tell who uses it: {error}") from error

    def _check_usage(self, usage: Usage) -> None:
        """UsageError for what would be torn: it is written to while it is read."""
        if self._settings.freeze and usage.writable:
            refuse_own_places(usage.writable, self._settings.own_places)
        if not self._is_written_to(usage):
            return
        if not self._settings.allow_mounted:
            raise UsageError(
                f"{self._place}: {usage}: what is written to it while it is read would make a torn copy. Unmount it, "
                "back up a snapshot of it (hooks lvm, zfs), freeze it meanwhile (-o device.freeze=true), or take "
                "the risk (-o device.allow_mounted=true)"
            )

    def _is_written_to(self, usage: Usage) -> bool:
        return bool(usage.others) or bool(usage.writable and not self._settings.freeze)

    def _prepare(self) -> None:
        if self._prepared is not None:
            return
        try:
            usage = self._usage()
            self._check_usage(usage)
        except UsageError as error:  # it was not in use when the backup began
            raise self._error(str(error)) from error
        if self._is_written_to(usage):
            self._settings.reporter.warning(
                f"{self._place}: {usage}: it may be written to while it is read, and the copy be torn: a file system "
                "in it may need a repair, and files in it may be damaged"
            )
        if self._settings.freeze and usage.writable:
            try:
                self._frozen = self._settings.freezer.freeze(usage.writable)
            except SourceError as error:
                raise self._error(str(error)) from error
        try:
            self._volume = VolumeReader(self._place, is_device=self.facts.is_device)
            self._look_inside(self._volume)
        except OSError as error:
            self.close()
            raise self._error(f"{self._place}: cannot be read: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def _look_inside(self, volume: VolumeReader) -> None:
        size = self.facts.size_bytes
        if self.facts.is_device:
            holes = holes_of_loop_device(volume.fd, self.facts.number, size)
        else:
            holes = holes_of_file(volume.fd, size)
        followed = self._follow(volume)
        holes = merged([*holes, *followed.holes], size)
        unchanged = self._unchanged(volume, followed)
        self._extents = extents(holes, unchanged, size)
        samples = take_samples(volume, rest_of(holes, size), size)
        self.memory = {**(followed.memory or {}), "size": size, "samples": samples}
        self._prepared = os.fstat(volume.fd)

    def _follow(self, volume: VolumeReader) -> Followed:
        """What the device mapper knows; nothing where it cannot be asked, which is told."""
        if not (self._settings.follow and self.facts.is_device):
            return Followed()
        try:
            device = devicemapper.mapped_device(self.facts.number)
            way = None if device is None else WAYS.get(device.kind)
            if device is None or way is None:
                return Followed()
            remembered = self._remembered
            if remembered is not None and remembered.get("size") != self.facts.size_bytes:
                remembered = None
            os.fsync(volume.fd)  # what only the system's cache has is not known to the device mapper yet
            followed = way(device, self.facts.size_bytes, remembered)
        except (SourceError, OSError) as error:
            self._settings.reporter.warning(f"{self._place}: what has changed is not known, all is read: {error}")
            return Followed()
        if followed.reason:
            self._settings.reporter.note(f"{self._place}: {followed.reason}, all is read")
        return followed

    def _unchanged(self, volume: VolumeReader, followed: Followed) -> Sequence[Range]:
        """What is surely as in the parent."""
        unchanged: Sequence[Range] = followed.unchanged
        listed = self._settings.changed
        if listed is not None:
            if self._parent_id and self._parent_id.startswith(listed.since):
                size = self.facts.size_bytes
                unchanged = merged([*unchanged, *rest_of(merged(listed.ranges, size), size)], size)
            else:
                parent = f"the parent snapshot is {self._parent_id[:8]}" if self._parent_id else "there is no parent"
                self._settings.reporter.warning(
                    f"{self._place}: the list of changes is since {listed.since[:8]}, {parent}: all is read"
                )
        if unchanged and self._remembered is not None:
            offset = contradiction(volume, self._remembered, unchanged)
            if offset is not None:
                return self._contradicted(offset, is_listed=listed is not None)
        return unchanged

    def _contradicted(self, offset: int, *, is_listed: bool) -> Sequence[Range]:
        text = f"{self._place}: byte {offset} is not as it was in the parent snapshot, though it is said to be"
        if is_listed:
            raise self._error(f"{text}: the list given with device.changed is not complete")
        self._settings.reporter.warning(f"{text} unchanged (was the device replaced?): all is read")
        return ()

    # -- while it is read ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        frozen = self._frozen
        if frozen is not None and frozen.problem is not None:
            raise self._error(frozen.problem)

    def _read_out(self) -> None:
        """Whatever was to be read was read."""
        with self._lock:
            if self._prepared is not None:
                self._check_whole(self._prepared)
            self._thaw()

    def _check_whole(self, before: os.stat_result) -> None:
        """An image that was written to meanwhile is torn; of a device only its size can be told."""
        with suppress(OSError):
            after = os.stat(self._place)
            if not self.facts.is_device and (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                text = f"{self._place}: was written to while it was read"
                if self._settings.allow_mounted:
                    self._settings.reporter.warning(f"{text}: the copy may be torn")
                else:
                    self.failure = f"{text}: the copy would be torn"

    def _thaw(self) -> None:
        frozen, self._frozen = self._frozen, None
        if frozen is not None:
            frozen.release()
            self.failure = self.failure or frozen.problem

    def _error(self, text: str) -> SourceError:
        self.failure = self.failure or text
        return SourceError(text, targets=[self.snapshot_path])


class LateExtents(Sequence[Extent]):
    """Extents that are found when somebody looks at them: a device is frozen no longer than need be."""

    def __init__(self, content: DeviceContent) -> None:
        self._content = content

    def __len__(self) -> int:
        return len(self._content.known_extents())

    @overload
    def __getitem__(self, index: int) -> Extent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Extent]: ...
    def __getitem__(self, index: int | slice) -> Extent | Sequence[Extent]:
        return self._content.known_extents()[index]

    def __iter__(self) -> Iterator[Extent]:
        return iter(self._content.known_extents())

    def __bool__(self) -> bool:
        """There may be some: looking would freeze."""
        return True

"""`FreezingHook`: base of the hooks that have a snapshot of the volume read instead of the volume itself.

It keeps account: one snapshot for all that is on one volume, removed when the last of it was read, whatever happened;
and those that a killed run left behind removed by the next. What is a volume, and how it is frozen, a subclass says.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from limpet.contracts.hooks import Hook, RunInfo, hookimpl
from limpet.contracts.options import Option, Options
from limpet.contracts.programs import run_program
from limpet.contracts.snapshot_names import is_leftover, new_snapshot_name
from limpet.errors import HookError, UsageError

PATH = "path"
"""The scheme of files and folders."""

TIMEOUT = Option("timeout", "how long each command of the system may take", type="duration", default=300.0)
REQUIRED = Option(
    "required",
    "fail where something to back up is on no such volume; otherwise it is read where it is",
    type="boolean",
    default=False,
)

Volume = TypeVar("Volume", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Found(Generic[Volume]):
    """Which volume an argument is on, and where in it; `inside` is for `place` alone."""

    volume: Volume
    inside: str = ""


class FreezingHook(Hook, Generic[Volume]):
    """One hook of a run; `Volume` is what names a volume, a text or a small value."""

    options: ClassVar[Sequence[Option]] = (TIMEOUT, REQUIRED)
    limits_its_time: ClassVar[bool] = True
    schemes: ClassVar[Sequence[str]] = (PATH,)
    """What it can freeze: files and folders, or more."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        timeout_s = options.get(TIMEOUT.name)
        if not isinstance(timeout_s, int | float) or timeout_s <= 0:
            raise UsageError(f"the option {TIMEOUT.name} must be longer than nothing, not {timeout_s!r}")
        self._timeout_s = float(timeout_s)
        self._names: dict[Volume, str] = {}
        self._users: dict[Volume, list[tuple[str, str]]] = {}

    # -- what a subclass says -----------------------------------------------------------------------------------

    @abstractmethod
    def find(self, path: str, scheme: str) -> Found[Volume] | None:
        """The volume that an argument is on, one of `schemes`; None for what cannot be frozen here."""

    @abstractmethod
    def freeze(self, volume: Volume, name: str) -> None:
        """Make a snapshot that can be found by its name. One that fails half-way is thawed too."""

    @abstractmethod
    def place(self, volume: Volume, name: str, inside: str) -> str:
        """The absolute path at which to read the argument in the snapshot."""

    @abstractmethod
    def thaw(self, volume: Volume, name: str) -> None:
        """Remove all that is there of a snapshot; nothing may be. HookError if something stays."""

    @abstractmethod
    def snapshots(self, volume: Volume) -> Iterable[str]:
        """The names of snapshots that are there of the volume, whoever made them."""

    def verify(self, volume: Volume, name: str) -> None:
        """HookError if what was read from the snapshot cannot be trusted. Asked when all of it was read.

        The backup is recorded after that; it is too late in `thaw`. Most snapshots cannot go bad.
        """

    def run_program(self, *argv: str) -> str:
        """What a program prints, within the hook's time limit; errors as `limpet.contracts.programs.run_program`."""
        return run_program(argv, self._timeout_s)

    # -- the moments of a run -----------------------------------------------------------------------------------

    @hookimpl
    def limpet_source_prepare(self, run: RunInfo, path: str, scheme: str) -> str | None:
        """Where in a snapshot to read the argument."""
        if scheme not in self.schemes:
            return None
        found = self.find(path, scheme)
        if found is None:
            self._pass_by(path)
            return None
        volume = found.volume
        if volume not in self._names:
            self._remove_leftovers(volume)
            name = new_snapshot_name()
            self._freeze(volume, name)
            self._names[volume], self._users[volume] = name, []
        self._users[volume].append((scheme, path))
        return self.place(volume, self._names[volume], found.inside)

    @hookimpl
    def limpet_snapshot_saving(self, run: RunInfo) -> None:
        """Make sure that the snapshots were good to the end."""
        for volume, name in self._names.items():
            self.verify(volume, name)

    @hookimpl
    def limpet_source_release(self, run: RunInfo, path: str, scheme: str) -> None:
        """Remove the snapshot if nobody else reads from it."""
        for volume, users in self._users.items():
            if (scheme, path) in users:
                users.remove((scheme, path))
                if not users:
                    del self._users[volume]
                    self.thaw(volume, self._names.pop(volume))
                return

    def _freeze(self, volume: Volume, name: str) -> None:
        try:
            self.freeze(volume, name)
        except BaseException:
            # At once: where failures only warn, the next argument must not be read from what is not there.
            try:
                self.thaw(volume, name)
            except HookError as error:
                self.reporter.warning(f"what there is of the snapshot {name} cannot be removed: {error}")
            raise

    def _pass_by(self, path: str) -> None:
        if self.settings.get(REQUIRED.name):
            raise HookError(f"{path} is on no volume that can be frozen here, and `{REQUIRED.name}` is set")
        self.reporter.note(f"{path} is not frozen by {type(self).__name__}: it is read where it is", verbosity=2)

    def _remove_leftovers(self, volume: Volume) -> None:
        for name in list(self.snapshots(volume)):
            if is_leftover(name):
                try:
                    self.thaw(volume, name)
                except HookError as error:  # In nobody's way now; it takes space.
                    self.reporter.warning(f"the snapshot {name} of a run that was killed cannot be removed: {error}")
                else:
                    self.reporter.note(f"removed the snapshot {name} of a run that was killed")

"""The base of hooks that freeze volumes: one snapshot a volume, and none left, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import pytest
from limpet.contracts.freezing import PATH, Found, FreezingHook
from limpet.contracts.hooks import RunInfo, SnapshotDraft
from limpet.errors import HookError, UsageError
from limpet.progress import SilentReporter
from limpet.registry.hook_calls import HookCaller

RUN = RunInfo("backup", "path:/r")
DEFAULTS = {option.name: option.default for option in FreezingHook.options}


class Shelf(FreezingHook[str]):
    """Freezes `/volume/...`; its snapshots are a set of names."""

    def __init__(self, fails_at: str = "", **options: str | float | bool) -> None:
        super().__init__({**DEFAULTS, **options})
        self.fails_at = fails_at
        self.there: set[tuple[str, str]] = set()
        self.made = 0

    def find(self, path: str, scheme: str) -> Found[str] | None:
        first, _, rest = path.removeprefix("/").partition("/")
        assert scheme == PATH
        return Found(first, rest) if first.startswith("volume") else None

    def freeze(self, volume: str, name: str) -> None:
        self.there.add((volume, name))
        self.made += 1
        self._fail("freeze")

    def place(self, volume: str, name: str, inside: str) -> str:
        return f"/frozen/{name}/{inside}"

    def verify(self, volume: str, name: str) -> None:
        self._fail("verify")

    def thaw(self, volume: str, name: str) -> None:
        self._fail("thaw")
        self.there.discard((volume, name))

    def snapshots(self, volume: str) -> Iterable[str]:
        return [name for its_volume, name in self.there if its_volume == volume]

    def _fail(self, moment: str) -> None:
        if self.fails_at == moment:
            raise HookError("no luck")


def caller(hook: Shelf) -> HookCaller:
    """A run with the hook."""
    found = HookCaller(RUN, SilentReporter())
    found.add("shelf", hook)
    return found


def test_one_snapshot_for_each_volume() -> None:
    """Two of one volume would be two moments, and twice the space."""
    hook = Shelf()
    paths = ["/volume1/a", "/volume2/b", "/elsewhere", "/volume1/c", "/volume1/a"]
    with caller(hook).prepared({PATH: paths, "postgres": ["/volume1/x"]}) as read_from:
        assert hook.made == len(hook.there) == 2
        places = read_from[PATH]
        assert set(read_from) == {PATH}
        assert set(places) == {"/volume1/a", "/volume2/b", "/volume1/c"}
        assert places["/volume1/a"].rpartition("/")[0] == places["/volume1/c"].rpartition("/")[0]
        assert places["/volume1/a"].endswith("/a")
    assert hook.there == set()


@pytest.mark.parametrize("moment", ["freeze", "verify", "thaw"])
def test_failures(moment: str) -> None:
    """A snapshot that was half made is removed, and a failure of any kind is seen."""
    hook = Shelf(moment)
    hooks = caller(hook)
    with pytest.raises(HookError, match="no luck"), hooks.prepared({PATH: ["/volume/a", "/volume/b"]}):
        hooks.snapshot_saving(SnapshotDraft("host", []))
    assert (moment == "thaw") == bool(hook.there)


def test_failures_that_only_warn() -> None:
    """The live files are read then: all of them, not those of a snapshot that was never made."""
    hook = Shelf("freeze")
    hooks = HookCaller(RUN, SilentReporter())
    hooks.add("shelf", hook, only_warns=True)
    with hooks.prepared({PATH: ["/volume/a", "/volume/b"]}) as read_from:
        assert read_from == {}
        assert hook.there == set()


def test_a_clean_up_that_fails_as_well() -> None:
    """The first failure is the one to tell; what stays has to be seen all the same."""

    class Listening(SilentReporter):
        warnings: ClassVar[list[str]] = []

        def warning(self, text: str) -> None:
            self.warnings.append(text)

    class Stuck(Shelf):
        def thaw(self, volume: str, name: str) -> None:
            raise HookError("in use")

    hooks = HookCaller(RUN, Listening())
    hooks.add("shelf", Stuck("freeze"))
    with pytest.raises(HookError, match="no luck"), hooks.prepared({PATH: ["/volume/a"]}):
        pytest.fail("the body must not run")
    assert len(Listening.warnings) == 1
    assert Listening.warnings[0].endswith("cannot be removed: in use")


def test_two_runs_of_one_process() -> None:
    """A library's user may run two backups: neither may take the other's snapshot for a leftover."""
    first, second = Shelf(), Shelf()
    second.there = first.there
    with caller(first).prepared({PATH: ["/volume/a"]}):
        with caller(second).prepared({PATH: ["/volume/a"]}):
            assert len(first.there) == 2
        assert len(first.there) == 1


def test_required() -> None:
    """Who asks for it is not content with the live files."""
    with (
        pytest.raises(HookError, match="/elsewhere is on no volume that can be frozen here"),
        caller(Shelf(required=True)).prepared({PATH: ["/elsewhere"]}),
    ):
        pytest.fail("the body must not run")
    with caller(Shelf(required=True)).prepared({"postgres": ["localhost/shop"]}) as read_from:
        assert read_from == {}


@pytest.mark.parametrize("timeout", [0, -1.0, "soon"])
def test_bad_time_limit(timeout: float | str) -> None:
    """It is told at the start."""
    with pytest.raises(UsageError, match="timeout must be longer than nothing"):
        Shelf(timeout=timeout)

"""Where snapshots are shown: templates, times, collisions, `latest`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256

import pytest
from limpet.errors import UsageError
from limpet.format.snapshot import Snapshot
from limpet.format.timestamps import Time, parse_time
from limpet.ids import StorageId
from limpet.operations.browse import Layout
from limpet.operations.browse.gotime import format_go_time
from limpet.operations.browse.views import LatestLink, SnapshotPlace, View, build_views
from limpet.repository.snapshots import StoredSnapshot

MOMENT = "2009-02-03T21:05:06.012345600+05:30"


def stored(time: str, *, tags: Sequence[str] = (), host: str = "host", name: str = "") -> StoredSnapshot:
    """A snapshot of that time; its id follows from it and the name."""
    snapshot = Snapshot(parse_time(time), None, ["/"], hostname=host, username="ann", tags=list(tags))
    return StoredSnapshot(StorageId(sha256(f"{time}{name}".encode()).digest()), snapshot)


def paths(view: View, above: str = "") -> dict[str, str]:
    """What leads to snapshots: the short id of each, or the target of the link."""
    found = {}
    for name, child in view.children.items():
        path = f"{above}/{os.fsdecode(name)}"
        match child:
            case View():
                found.update(paths(child, path))
            case SnapshotPlace(one):
                found[path] = one.id.hex()[:8]
            case LatestLink(target, _):
                found[path] = "-> " + os.fsdecode(target)
    return found


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("2006-01-02T15:04:05Z07:00", "2009-02-03T21:05:06+05:30"),
        ("Mon Jan _2 15:04:05 2006", "Tue Feb  3 21:05:06 2009"),
        ("Monday, 02-Jan-06 15:04:05 MST", "Tuesday, 03-Feb-09 21:05:06 +0530"),
        ("January 2 2006 3:04PM pm", "February 3 2009 9:05PM pm"),
        ("Janet Month _2006 __2 002 1 03 4 5", "Janet Month _2009  34 034 2 09 5 6"),
        ("05.000 05.999999999 05,00 .0005", "06.012 06.0123456 06,01 .0006"),
        ("-07 -0700 -07:00 -07:00:00 -070000 Z07 Z0700", "+05 +0530 +05:30 +05:30:00 +053000 +05 +0530"),
    ],
)
def test_go_layouts(layout: str, expected: str) -> None:
    """Scripts find their snapshots by names that restic wrote: each element of a layout counts."""
    assert format_go_time(parse_time(MOMENT), layout) == expected


def test_utc_has_its_own_signs() -> None:
    """Most servers run in UTC: Z and the name UTC stand for it, but not in layouts with a plain offset."""
    moment = Time(0, 0)
    assert format_go_time(moment, "2006 Z07:00 Z0700 -07:00 MST") == "1970 Z Z +00:00 UTC"


def test_default_folders() -> None:
    """restic's four views, with a link to the newest where names are times; snapshots of one second are numbered."""
    first, second, third = (
        stored("2020-01-01T10:00:00Z", tags=["a", "b/c"]),
        stored("2020-01-01T10:00:00.5Z", tags=["a"]),
        stored("2021-01-01T10:00:00Z", host="other"),
    )
    one, two, three = (snapshot.id.hex()[:8] for snapshot in (first, second, third))
    assert paths(build_views(Layout(), [first, second, third])) == {
        f"/ids/{one}": one,
        f"/ids/{two}": two,
        f"/ids/{three}": three,
        "/snapshots/2020-01-01T10:00:00Z": one,
        "/snapshots/2020-01-01T10:00:00Z-1": two,
        "/snapshots/2021-01-01T10:00:00Z": three,
        "/snapshots/latest": "-> 2021-01-01T10:00:00Z",
        "/hosts/host/2020-01-01T10:00:00Z": one,
        "/hosts/host/2020-01-01T10:00:00Z-1": two,
        "/hosts/host/latest": "-> 2020-01-01T10:00:00Z-1",
        "/hosts/other/2021-01-01T10:00:00Z": three,
        "/hosts/other/latest": "-> 2021-01-01T10:00:00Z",
        "/tags/a/2020-01-01T10:00:00Z": one,
        "/tags/a/2020-01-01T10:00:00Z-1": two,
        "/tags/a/latest": "-> 2020-01-01T10:00:00Z-1",
        "/tags/b_c/2020-01-01T10:00:00Z": one,
        "/tags/b_c/latest": "-> 2020-01-01T10:00:00Z",
    }


def test_empty_views_are_there() -> None:
    """Somebody looks into `tags` before anything has one: a folder without anything, not an error."""
    assert set(build_views(Layout(), []).children) == {b"ids", b"snapshots", b"hosts", b"tags"}


def test_codes_and_folders_of_times() -> None:
    """All codes, a time that makes folders, and a percent sign that stands for itself."""
    one = stored("2020-01-02T10:00:00Z", tags=["x"])
    found = paths(build_views(Layout(["%u@%h/%T/%%%t", "long/%I"], "2006/01"), [one]))
    assert found == {"/ann@host/2020/01/%x": one.id.hex()[:8], f"/long/{one.id.hex()}": one.id.hex()[:8]}


def test_names_never_leave_the_root() -> None:
    """A host or a tag may be called anything: no path leads out of the tree or into a snapshot."""
    evil = [stored("2020-01-01T00:00:00Z", host="../..", tags=[".."]), stored("2021-01-01T00:00:00Z", tags=["", ".."])]
    root = build_views(Layout(), evil)

    def check(view: View) -> None:
        for name, child in view.children.items():
            assert name not in {b"", b".", b".."}
            assert b"/" not in name
            if isinstance(child, View):
                check(child)

    check(root)


def test_latest_as_folder() -> None:
    """WebDAV knows no links: there `latest` is the newest snapshot itself."""
    one = stored("2020-01-02T10:00:00Z")
    found = paths(build_views(Layout(["%T"]), [one], follow_latest=True))
    assert found == {"/2020-01-02T10:00:00Z": one.id.hex()[:8], "/latest": one.id.hex()[:8]}


@pytest.mark.parametrize("template", ["", "/2006", "2006/"])
def test_impossible_time_templates(template: str) -> None:
    """A template that would lose all snapshots is refused at once."""
    with pytest.raises(UsageError, match="time template string cannot"):
        Layout(time_template=template)

"""Tags, descriptions and protection: what changes, what must not, and that no snapshot is lost over it."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.contracts.backend import FileKind
from limpet.format.gojson import JsonValue
from limpet.format.snapshot import Protection, Snapshot, encode_snapshot
from limpet.format.timestamps import Time
from limpet.ids import BlobId
from limpet.operations.annotate import TagChange, change_tags, describe, protect
from limpet.repository.repository import Repository
from limpet.repository.snapshots import StoredSnapshot, load_snapshots
from limpet.storage.memory import MemoryBackend
from limpet.storage.recording import CrashError, RecordingBackend
from limpet.testing.handmade import Handmade

TAGS = st.lists(st.sampled_from("abcd"), max_size=4, unique=True)
FOREIGN: dict[str, JsonValue] = {"label": "weekly", "command": "rustic backup", "x": [1, {"y": None}]}


def store(made: Handmade) -> StoredSnapshot:
    """A snapshot with fields that only others know."""
    snapshot = Snapshot(
        Time(1_700_000_000_000_000_000, 3600), BlobId(bytes(32)), ["/a"], hostname="h", tags=["t"], extra=dict(FOREIGN)
    )
    return StoredSnapshot(made.repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot)), snapshot)


CHANGES: list[Callable[[Repository, StoredSnapshot], StoredSnapshot | None]] = [
    lambda repository, stored: change_tags(repository, stored, TagChange(add=["new"])),
    lambda repository, stored: describe(repository, stored, "what it is"),
    lambda repository, stored: protect(repository, stored, Protection()),
]


@pytest.mark.parametrize("change", CHANGES)
def test_all_else_stays(change: Callable[[Repository, StoredSnapshot], StoredSnapshot | None]) -> None:
    """Unknown fields are another program's: who tags a snapshot must not destroy them. `original` is the first id."""
    made = Handmade()
    stored = store(made)
    changed = change(made.repository, stored)
    assert changed is not None
    again = change_tags(made.repository, changed, TagChange(add=["more"]))
    assert again is not None
    assert load_snapshots(made.repository) == [again]
    before, after = (orjson.loads(encode_snapshot(one.snapshot)) for one in (stored, again))
    assert after.pop("original") == stored.id.hex()
    assert (before.pop("tags"), after.pop("tags")[0]) == (["t"], "t")
    assert {key: value for key, value in after.items() if key not in {"description", "delete"}} == before
    assert before.items() >= FOREIGN.items()


@pytest.mark.parametrize("change", CHANGES)
def test_doing_it_twice_changes_nothing(
    change: Callable[[Repository, StoredSnapshot], StoredSnapshot | None],
) -> None:
    """A job that tags every night must not give every snapshot a new id every night."""
    made = Handmade()
    changed = change(made.repository, store(made))
    assert changed is not None
    assert change(made.repository, changed) is None


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_killed_at_any_write_the_snapshot_is_there(writes: int) -> None:
    """The new one is stored before the old one is removed."""
    backend = RecordingBackend(MemoryBackend())
    made = Handmade(backend)
    stored = store(made)
    backend.stop_after(writes)
    try:
        describe(made.repository, stored, "text")
    except CrashError:
        backend.heal()
    descriptions = sorted(one.snapshot.description for one in load_snapshots(made.repository))
    assert descriptions == [[""], ["", "text"], ["text"]][writes]


@given(TAGS, TAGS, TAGS)
def test_tags_are_a_set(tags: list[str], add: list[str], remove: list[str]) -> None:
    """What is added is there, what is removed is not, all else stays."""
    changed = TagChange(add=add, remove=remove).apply(tags)
    assert set(tags if changed is None else changed) == (set(tags) | set(add)) - set(remove)
    assert changed is None or len(changed) == len(set(changed))


def test_a_description_and_protection_are_taken_away_again() -> None:
    """Nothing of them is left in the file, so that it is restic's own again."""
    made = Handmade()
    stored = store(made)
    for text, protection in (("x", Protection()), ("", None)):
        described = describe(made.repository, stored, text)
        assert described is not None
        protected = protect(made.repository, described, protection)
        assert protected is not None
        stored = protected
    assert not {"description", "delete"} & set(orjson.loads(encode_snapshot(stored.snapshot)))

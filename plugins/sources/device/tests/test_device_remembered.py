"""What is remembered of a snapshot is a file that anything may have happened to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from limpet.contracts.source import ParentInfo, SourceRequest
from limpet_source_device import DeviceSource
from limpet_source_device.era import KIND as ERA
from limpet_source_device.remembered import Memories

SNAPSHOT = "ab" * 32
SOUND = {"kind": ERA, "block": 4096, "era": 3, "written": [[0, 4096]], "size": 8192, "samples": [[0, 4096, "00"]]}
NONSENSE: list[dict[str, Any]] = [
    {"samples": 7},
    {"samples": [7]},
    {"samples": [[0, 4096]]},
    {"samples": [["0", 4096, "00"]]},
    {"samples": [[0.5, 4096, "00"]]},
    {"samples": [[4096, -1, "00"]]},
    {"written": None},
    {"written": [0, 4096]},
    {"written": [["0", "4096"]]},
]
"""Valid JSON, each wrong in one thing."""


def test_what_was_kept_is_recalled(tmp_path: Path) -> None:
    """Otherwise all is read at every backup."""
    memories = Memories(tmp_path)
    memories.keep(SNAPSHOT, {"/dev/x": SOUND})
    assert memories.recall(SNAPSHOT) == {"/dev/x": SOUND}
    assert memories.recall("cd" * 32) == {}


@pytest.mark.parametrize("text", ["", "[]", "7", '{"/dev/x": []}', '{"/dev/x": {}}', "[" * 100_000, "\udcff"])
def test_a_file_that_is_none_of_ours(tmp_path: Path, text: str) -> None:
    """All is read then; a backup must not fail for want of a shortcut."""
    (tmp_path / f"{SNAPSHOT}.json").write_text(text, errors="surrogateescape")
    assert Memories(tmp_path).recall(SNAPSHOT) == {}


@pytest.mark.parametrize("wrong", NONSENSE, ids=json.dumps)
def test_a_memory_that_makes_no_sense(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """It is left alone, and what is sound beside it is used."""
    Memories(tmp_path).keep(SNAPSHOT, {"/dev/x": {**SOUND, **wrong}, "/dev/y": SOUND})
    assert Memories(tmp_path).recall(SNAPSHOT) == {"/dev/y": SOUND}


@pytest.mark.parametrize("wrong", [one for one in NONSENSE if "samples" in one], ids=json.dumps)
def test_a_backup_after_nonsense(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Looking at the samples of a damaged file ended the backup with a traceback."""
    image = tmp_path / "disk.img"
    image.write_bytes(content := os.urandom(8192))
    Memories(tmp_path).keep(SNAPSHOT, {str(image): {**SOUND, **wrong}})
    (tmp_path / "list").write_text(f"since {SNAPSHOT}\n0 0\n")
    options = {"state": str(tmp_path), "changed": str(tmp_path / "list")}
    source = DeviceSource.open(SourceRequest([str(image)], options))
    try:
        source.begin(ParentInfo(SNAPSHOT, 0))
        (target,) = source.targets()
        assert [one.is_unchanged for one in target.entry.extents or ()] == [True]
        assert target.entry.stream is not None
        with target.entry.stream() as stream:
            assert stream.read() == content
    finally:
        source.close()

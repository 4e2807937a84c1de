"""Ranges, and the texts they are made of: the user's list, what era_invalidate, thin_dump and thin_delta print."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.errors import UsageError
from limpet_source_device.address import local_path, snapshot_path
from limpet_source_device.changed_list import load_changed_list
from limpet_source_device.era import parse_blocks
from limpet_source_device.ranges import Range, contain, extents, merged, rest_of, without
from limpet_source_device.thin import parse_difference, parse_mappings

SIZE = 40
RANGES = st.lists(st.tuples(st.integers(-5, SIZE + 5), st.integers(-5, SIZE + 5)), max_size=6)


def positions(ranges: list[Range]) -> set[int]:
    """Every byte of them that is in the device."""
    return {position for begin, end in ranges for position in range(begin, end) if 0 <= position < SIZE}


@given(RANGES, RANGES)
@settings(max_examples=200)
def test_ranges_are_sets_of_bytes(first: list[Range], second: list[Range]) -> None:
    """A range too many is old data in a backup, one too few is read for nothing."""
    one, two = merged(first, SIZE), merged(second, SIZE)
    assert positions(one) == positions(first)
    assert all(begin < end for begin, end in one)
    assert all(before[1] < after[0] for before, after in pairwise(one))
    assert positions(rest_of(one, SIZE)) == set(range(SIZE)) - positions(first)
    assert positions(without(one, two, SIZE)) == positions(first) - positions(second)
    assert contain(one, two) == (positions(second) <= positions(first))
    found = extents(first, second, SIZE)
    holes = [(one.offset_bytes, one.offset_bytes + one.length_bytes) for one in found if one.is_hole]
    same = [(one.offset_bytes, one.offset_bytes + one.length_bytes) for one in found if one.is_unchanged]
    assert positions(holes) == positions(first)
    assert positions(same) == positions(second) - positions(first)
    assert len(holes) + len(same) == len(found)


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("///dev/vg0/home", "/dev/vg0/home"),
        ("/srv/vm.img", "/srv/vm.img"),
        ("///srv/../srv//x y.img", "/srv/x y.img"),
        ("//" + "/%41", "/%41"),
    ],
)
def test_a_path_is_taken_as_it_is(rest: str, path: str) -> None:
    """The name in the snapshot must be the same tomorrow, or the parent is not found."""
    assert local_path(rest) == path
    assert snapshot_path(path) == f"/device{path}"


def test_a_relative_path_is_below_the_current_folder() -> None:
    """As everywhere else."""
    assert local_path("vm.img") == f"{Path.cwd()}/vm.img"


@pytest.mark.parametrize("rest", ["//host/dev/sda", "//dev", "", "//"])
def test_another_machine_is_refused(rest: str) -> None:
    """`device://dev/sda` is a slip of the finger, and would be the device of a host called dev."""
    with pytest.raises(UsageError, match="device:///dev/NAME"):
        local_path(rest)


def test_both_forms_of_the_list(tmp_path: Path) -> None:
    """Scripts write the one, tools the other."""
    lines, document = tmp_path / "lines", tmp_path / "document"
    lines.write_text("# by a tool\nsince 0123abcd\n0 4096\n\n0x10000 512 # superblock\n")
    document.write_text(json.dumps({"since": "0123abcd", "ranges": [[0, 4096], [65536, 512]]}))
    assert load_changed_list(str(lines)) == load_changed_list(str(document))
    assert load_changed_list(str(lines)).ranges == [(0, 4096), (65536, 66048)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 4096\n", "since which snapshot"),
        ("since latest\n", "since which snapshot"),
        ("since 0123\n", "since which snapshot"),
        ("since 0123abcd\n0 4096 1\n", "line 2"),
        ("since 0123abcd\n0 4k\n", "line 2"),
        ("since 0123abcd\n-1 4096\n", "below zero"),
        ('{"ranges": [[0, 1]]}', "since which snapshot"),
        ('{"since": "0123abcd"}', "no such list"),
        ('{"since": "0123abcd", "ranges": [[0.5, 1]]}', "no such list"),
        ('{"since": "0123abcd", "ranges": [0, 1]}', "no such list"),
        ('{"since": ', "no such list"),
    ],
)
def test_a_list_that_is_none(tmp_path: Path, text: str, reason: str) -> None:
    """What is not listed is taken to be unchanged: a list that was misread is a wrong backup."""
    file = tmp_path / "list"
    file.write_text(text)
    with pytest.raises(UsageError, match=reason) as caught:
        load_changed_list(str(file))
    assert str(file) in str(caught.value)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    """The tool that makes it has failed."""
    with pytest.raises(UsageError, match="No such file"):
        load_changed_list(str(tmp_path / "list"))


def test_what_era_invalidate_prints() -> None:
    """The end of its ranges is the block behind the last. Text of version 0.9.0."""
    text = '<blocks>\n  <block block="3"/>\n  <range begin="5" end = "7"/>\n</blocks>\n'
    assert parse_blocks(text, 10, 1000) == [(30, 40), (50, 70)]
    assert parse_blocks(text, 10, 65) == [(30, 40), (50, 65)]
    assert parse_blocks("<blocks>\n</blocks>\n", 10, 1000) == []


def test_what_thin_dump_prints() -> None:
    """Text of version 0.9.0."""
    text = """<superblock uuid="" time="1" transaction="0" flags="0" version="2" data_block_size="128">
  <device dev_id="1" mapped_blocks="7" transaction="0" creation_time="1" snap_time="1">
    <single_mapping origin_block="0" data_block="9" time="0"/>
    <range_mapping origin_begin="16" data_begin="1" length="6" time="0"/>
  </device>
</superblock>"""
    assert parse_mappings(text) == [(0, 1), (16, 22)]


def test_what_thin_delta_prints() -> None:
    """What is mapped in one only is not the same. Text of version 0.9.0."""
    text = """<superblock uuid="" time="2" transaction="0" data_block_size="128" nr_data_blocks="0">
  <diff left="1" right="2">
    <same begin="0" length="3"/>
    <different begin="3" length="1"/>
    <left_only begin="8" length="2"/>
    <right_only begin="20" length="1"/>
  </diff>
</superblock>"""
    assert parse_difference(text) == ([(0, 3), (3, 4), (20, 21)], [(0, 3)])

"""Strings and names are Go's, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.errors import IntegrityError
from limpet.format.gojson import JsonValue, json_string, json_value, quote_name, unquote_name

VECTORS = [
    tuple(bytes.fromhex(column) for column in line.split("\t"))
    for line in (Path(__file__).parent / "vectors" / "go_json_strings.tsv").read_text("ascii").splitlines()
]


def test_every_vector() -> None:
    """A tree's id is the hash of these bytes."""
    assert len(VECTORS) == 3000
    for raw, as_string, as_name in VECTORS:
        assert json_string(raw) == as_string
        assert json_string(os.fsdecode(raw)) == as_string
        assert quote_name(raw) == as_name
        assert unquote_name(json.loads(as_name)) == raw


@settings(max_examples=500)
@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")))
def test_names_round_trip(raw: bytes) -> None:
    """A file comes back under the name it had, whatever its bytes."""
    assert unquote_name(json.loads(quote_name(raw))) == raw


def test_every_code_point_round_trips() -> None:
    """No character of any script may change a name."""
    for first in range(0, 0x110000, 0x400):
        if 0xD800 <= first < 0xE000:
            continue
        text = "".join(map(chr, range(first, first + 0x400)))
        raw = text.encode()
        assert unquote_name(json.loads(quote_name(raw))) == raw
        assert json.loads(json_string(text)) == text


@pytest.mark.parametrize(
    "text", ['"', "\\", "\n", "\\'", "\\x1", "\\u12", "\\ud800", "\\U00110000", "\\400", "\\9", "\\q"]
)
def test_bad_quoting(text: str) -> None:
    """A damaged name is reported as damage: a guessed one could be any file."""
    with pytest.raises(IntegrityError):
        unquote_name("a" + text)


def test_escapes_that_go_reads_and_never_writes() -> None:
    """Another program's tree may spell a name differently."""
    assert unquote_name("\\101\\x42\\u0043\\U00000044\\'"[:-2] + "\\377") == b"ABCD\xff"


@settings(max_examples=300)
@given(st.text(max_size=30))
def test_any_text_as_a_name(text: str) -> None:
    """Only the documented error escapes."""
    try:
        unquote_name(text)
    except IntegrityError:
        return


values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200)
@given(values)
def test_values_round_trip(value: JsonValue) -> None:
    """What Limpet does not know of a node or snapshot still has to survive it."""
    text = json_value(value)
    assert json.loads(text) == value
    assert b"<" not in text
    assert b"&" not in text


def test_nesting_is_bounded() -> None:
    """A hostile document must end in a documented error."""
    value: JsonValue = None
    for _ in range(100_000):
        value = [value]
    with pytest.raises(IntegrityError):
        json_value(value)
    while isinstance(value, list):  # taken apart by hand: the interpreter frees deep lists by recursion
        value = value[0]


def test_the_table_is_loaded_only_when_needed() -> None:
    """`limpet version` starts fast because nothing is read that is not used."""
    script = (
        "import limpet.format.gojson as g\n"
        "g.quote_name(b'plain'); g.quote_name(b'a\\n<\\x7f')\n"
        "assert g._printable_ranges.cache_info().currsize == 0\n"
        "g.quote_name('\\u00e9'.encode())\n"
        "assert g._printable_ranges.cache_info().currsize == 1\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

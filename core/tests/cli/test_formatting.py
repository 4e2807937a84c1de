"""Numbers, names and tables as they are shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limpet.cli.formatting import display_width, format_bytes, format_duration, format_percent, neutralise
from limpet.cli.formatting import neutralise_lines as neutralise_message
from limpet.cli.json_output import encode_json
from limpet.cli.node_output import mode_text
from limpet.cli.parameters import parse_duration, parse_size
from limpet.cli.table import format_table

NAMES = st.text(st.characters(codec=None) | st.sampled_from("\x1b\x07\r\n\t\x9b\udcff\u202e<>&"))


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.000 KiB"), (3_000_005, "2.861 MiB"), (5 << 40, "5.000 TiB")],
)
def test_format_bytes(size_bytes: int, text: str) -> None:
    """Scripts that read restic's summary would misread ours."""
    assert format_bytes(size_bytes) == text


def test_durations_and_percent() -> None:
    """The progress line would show another time or part than restic's."""
    assert [format_duration(seconds) for seconds in (0, 61.9, 3600, 36_061)] == ["0:00", "1:01", "1:00:00", "10:01:01"]
    assert [format_percent(1, 3), format_percent(5, 3), format_percent(1, 0)] == ["33.33%", "100.00%", ""]


@given(NAMES)
def test_no_name_can_steer_a_terminal(name: str) -> None:
    """A file name with escape sequences could rewrite the screen of whoever lists it (restic issue 2260)."""
    for shown in (neutralise(name), neutralise_message(name).replace("\n", "").replace("\t", "")):
        assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in shown)


def test_names_are_quoted_as_go_does() -> None:
    """A name with a line break would look like two names."""
    assert neutralise("plain ä.txt") == "plain ä.txt"
    assert neutralise('a\n"b\x1b\udcff') == '"a\\n\\"b\\x1b\\xff"'


@given(NAMES)
def test_json_is_valid_whatever_the_names(name: str) -> None:
    """A program reading `ls --json` would stop at the first name that is not valid UTF-8."""
    line = encode_json({"name": name})
    assert "\n" not in line
    assert not set("<>&") & set(line)
    expected = "".join("\ufffd" if 0xD800 <= ord(char) < 0xE000 else char for char in name)
    assert json.loads(line.encode()) == {"name": expected}


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (0o644, "-rw-r--r--"),
        (1 << 31 | 1 << 20 | 0o777, "dtrwxrwxrwx"),
        (1 << 27 | 0o777, "Lrwxrwxrwx"),
        (1 << 23 | 1 << 22 | 0o755, "ugrwxr-xr-x"),
        (1 << 26 | 1 << 21 | 0o600, "Dcrw-------"),
    ],
)
def test_modes_as_go_shows_them(mode: int, text: str) -> None:
    """`ls --long` and `permissions` in JSON would differ from restic's."""
    assert mode_text(mode) == text


def test_table_with_cells_of_several_lines() -> None:
    """Snapshots with several paths would run into each other."""
    table = format_table(["A", "Bee"], [["1", "x\nyy"], ["2", "宽"]], ["end"], spaced=True)
    assert table.split("\n") == ["A  Bee", "------", "1  x", "   yy", "", "2  宽", "------", "end"]
    assert display_width("宽a") == 3


@pytest.mark.parametrize(("text", "seconds"), [("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("0", 0), ("300ms", 0.3)])
def test_durations_in_gos_notation(text: str, seconds: float) -> None:
    """`--retry-lock 5m` in scripts made for restic would fail."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "m", "", "5 m", "1d", "m5", "5m3"])
def test_bad_durations_are_refused(text: str) -> None:
    """A forgotten unit would silently wait another time than was meant."""
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


def test_sizes() -> None:
    """`--exclude-larger-than 10M` would mean another size than in restic."""
    assert [parse_size(text) for text in ("7", "7b", "2K", "3m", "1G", "1T")] == [7, 7, 2048, 3 << 20, 1 << 30, 1 << 40]
    for text in ("", "K", "-1", "1.5M", "9999999999T"):
        with pytest.raises(ValueError, match="size"):
            parse_size(text)

"""Times are Go's, byte for byte, in every zone and year."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.errors import IntegrityError
from limpet.format.native import IS_NATIVE, parse_plain_ns
from limpet.format.timestamps import (
    NS_PER_S,
    OffsetLookup,
    Time,
    format_second,
    format_time,
    fraction_text,
    local_offset,
    parse_ns,
    parse_time,
)

VECTORS = [
    line.split("\t")
    for line in (Path(__file__).parent / "vectors" / "go_json_times.tsv").read_text("utf-8").splitlines()
]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_NS = -62_167_219_200 * NS_PER_S  # 0000-01-01T00:00:00Z
LAST_NS = 253_402_300_800 * NS_PER_S - 1  # the end of the year 9999


def offsets_of(zone: str) -> OffsetLookup:
    """The offsets of a zone for any instant: years that datetime lacks borrow those 400 years nearer."""
    info = ZoneInfo(zone)
    cycle = 146_097 * 86_400

    def offset_at(second: int) -> int:
        while second < -62_135_500_000:  # before the year 1
            second += cycle
        while second > 253_402_200_000:  # after 9999
            second -= cycle
        offset = info.utcoffset((EPOCH + timedelta(seconds=second)).astimezone(info))
        assert offset is not None
        return round(offset.total_seconds())

    return offset_at


def test_every_vector() -> None:
    """One byte off in a time and no tree with it has restic's id."""
    assert len(VECTORS) == 1000
    for second, fraction_ns, zone, expected in VECTORS:
        head, suffix = format_second(int(second), offsets_of(zone))
        assert f'"{head}{fraction_text(int(fraction_ns))}{suffix}"' == expected, (second, zone)


@pytest.mark.parametrize("zone", sorted({row[2] for row in VECTORS}))
def test_every_vector_in_the_local_zone(zone: str) -> None:
    """The C library's zone of the process is what backups are written in; it must agree with Go's, cache and all."""
    script = (
        "import sys\n"
        "from limpet.format.timestamps import format_time\n"
        "for line in sys.stdin:\n"
        "    second, ns, _, expected = line.rstrip('\\n').split('\\t')\n"
        "    got = format_time(int(second) * 10**9 + int(ns))\n"
        "    assert f'\"{got}\"' == expected, (line, got)\n"
    )
    rows = "".join("\t".join(row) + "\n" for row in VECTORS if row[2] == zone)
    result = subprocess.run(
        [sys.executable, "-c", script],
        input=rows,
        text=True,
        capture_output=True,
        env={**os.environ, "TZ": zone},
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_offsets_of_less_than_a_minute() -> None:
    """Go cuts the seconds off before it looks at the sign."""
    assert format_time(0, 59) == "1970-01-01T00:00:59+00:00"
    assert format_time(0, -59) == "1969-12-31T23:59:01+00:00"
    assert format_time(0, -60) == "1969-12-31T23:59:00-00:01"


def test_far_away_instants() -> None:
    """A file system that hands out an absurd time must not stop a backup."""
    for second in (-(2**80), -(2**63), 2**63, 2**80):
        assert abs(local_offset(second)) < 86_400
        assert format_time(second * NS_PER_S, 0)[:4] == ("0000" if second < 0 else "9999")
        assert parse_time(format_time(second * NS_PER_S)) is not None


@settings(max_examples=300)
@given(st.integers(FIRST_NS + 86_400 * NS_PER_S, LAST_NS - 86_400 * NS_PER_S), st.integers(-1439, 1439))
def test_round_trip(ns: int, offset_minutes: int) -> None:
    """A time read and written again must not move by a nanosecond nor change its zone."""
    time = Time(ns, offset_minutes * 60)
    assert parse_time(format_time(*time)) == time


@given(st.integers(-62_000_000_000, 253_000_000_000))
def test_dates_are_those_of_datetime(second: int) -> None:
    """The calendar is our own arithmetic; the standard library knows it too."""
    assert format_time(second * NS_PER_S, 0) == f"{EPOCH + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}".zfill(20)


@pytest.mark.parametrize(
    "text",
    [
        "", "2024", "2024-02-30T00:00:00Z", "2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z",
        "2024-01-00T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:60Z",
        "2024-01-01T00:00:00", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00,5Z", "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+01:60", "2024-01-01T00:00:00+0100", "2024-01-01T00:00:00Z\n",
        "\u0662024-01-01T00:00:00Z", "2024-01-01T0:00:00Z", "-024-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    """A damaged time is reported, not guessed."""
    with pytest.raises(IntegrityError):
        parse_time(text)


@settings(max_examples=500)
@given(
    st.integers(FIRST_NS + 86_400 * NS_PER_S, LAST_NS - 86_400 * NS_PER_S) | st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-1439, 1439),
    st.integers(0, 40),
    st.sampled_from(["", "0", "9", "Z", ".", ":", "+", "-", "\0", "\u0662", "\ud800"]),
)
def test_the_fast_way_reads_the_same(ns: int, offset_minutes: int, place: int, written: str) -> None:
    """The instant alone is read in C: what is a time, and which, must not depend on who reads it."""
    text = format_time(ns, offset_minutes * 60)
    for changed in (text, text[:place] + written + text[place + 1 :], text[:place] + written + text[place:]):
        try:
            expected = parse_time(changed).ns
        except IntegrityError:
            with pytest.raises(IntegrityError):
                parse_ns(changed)
        else:
            assert parse_ns(changed) == expected


@pytest.mark.skipif(not IS_NATIVE, reason="without the extension each time is read with all care")
def test_usual_times_are_read_in_c() -> None:
    """A listing reads three times for each entry: the slow way would take half of its time."""
    assert parse_plain_ns("2024-02-29T23:59:59.123456789+05:30") == 1709231399123456789
    assert parse_plain_ns("1969-12-31T23:59:59.5Z") == -500_000_000
    assert parse_plain_ns("1970-01-01T00:00:00Z") == 0


def test_long_fractions_are_cut() -> None:
    """Go reads more than nine digits and keeps nine."""
    assert parse_time("1970-01-01T00:00:00.1234567899999Z") == Time(123_456_789, 0)


@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    """Only the documented error escapes."""
    try:
        parse_time(text)
    except IntegrityError:
        return

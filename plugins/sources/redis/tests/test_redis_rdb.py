"""RDB files as they stream by: whole and checked, or told; the same bytes for the same data."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from anycrc import Model  # type: ignore[import-untyped]
from limpet_source_redis.rdb import checked, read_header

from tests.services.redis_server import RedisServer
from tests.sources.redis_shop import contents, fill, started_from

CRC = Model("CRC64-REDIS")
MARK = b"0123456789abcdef0123456789abcdef01234567"
FACTS = b"\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0\x40"
PASSING = b"\xfa\x05ctime\xc2\x01\x02\x03\x04\xfa\x08used-mem\xc1\x01\x02\xfa\x07repl-id\x28" + b"a" * 40
KEYS = b"\xfe\x00\xfb\x01\x00\x00\x01a\x01b" + b"\x00\x01c\xff" + b"\xff" * 100 + b"\xff"


def rdb(facts: bytes, *, with_checksum: bool = True, keys: bytes = KEYS) -> bytes:
    """A file with these facts, ended as Redis ends it."""
    content = b"REDIS0010" + facts + keys
    return content + (CRC.calc(content) if with_checksum else 0).to_bytes(8, "little")


def read(stream: bytes) -> tuple[bytes, list[str | None]]:
    """What comes out, and what the end was told as."""
    told: list[str | None] = []
    with checked(io.BytesIO(stream), told.append) as output:
        return output.read(), told


@pytest.mark.parametrize("mark", [MARK, b""])
@pytest.mark.parametrize("with_checksum", [True, False])
def test_what_is_passing_and_the_mark_go(mark: bytes, with_checksum: bool) -> None:
    """A file with redis-cli's forty bytes at its end is one more thing to know at the worst of times."""
    stream = rdb(FACTS + PASSING, with_checksum=with_checksum) + mark
    assert read(stream) == (rdb(FACTS, with_checksum=with_checksum), [None])


def test_one_larger_than_a_read() -> None:
    """The end is looked for in the last bytes, wherever the reads cut them."""
    for extra in range(0, 60, 3):
        keys = KEYS[:-1] + b"\xfe" * ((1 << 20) + (1 << 16) - 120 + extra) + b"\xff"
        assert read(rdb(FACTS + PASSING, keys=keys) + MARK) == (rdb(FACTS, keys=keys), [None])


def test_every_cut_is_told() -> None:
    """A cut file is refused by the server that should be restored from it."""
    whole = rdb(FACTS + PASSING)
    for size in range(len(whole)):
        _, told = read(whole[:size])
        assert told[0] is not None, size
        assert "RDB" in told[0]


def test_every_flipped_byte_is_told() -> None:
    """What was damaged on its way has the length and the end of a whole one."""
    whole = rdb(FACTS + PASSING) + MARK
    for position in range(len(whole) - len(MARK)):
        _, told = read(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert told[0] is not None, position


@pytest.mark.parametrize(
    "fact",
    [
        b"\xfa\x40\x05ctime\x01x",  # a length of 14 bits
        b"\xfa\x80\x00\x00\x00\x05ctime\x01x",  # of 32
        b"\xfa\x81\x00\x00\x00\x00\x00\x00\x00\x05ctime\x01x",  # of 64
        b"\xfa\x05ctime\xc3\x03\x09abc",  # packed
        b"\xfa\x05ctime\xc0\x01",
    ],
)
def test_lengths_in_all_their_forms(fact: bytes) -> None:
    """A length that is read wrong would take a part of the data for a fact, and drop it."""
    head = b"REDIS0011" + FACTS + fact + b"\xfe\x00"
    header = read_header(head)
    assert header is not None
    assert (header.size, header.kept) == (len(head) - 2, b"REDIS0011" + FACTS)


@pytest.mark.parametrize("fact", [b"\xfa\xc4\x01", b"\xfa\x82\x01", b"\xfa", b"\xfa\x05ctime\x80\x00\x01\x00\x00abc"])
def test_what_is_not_known_stays(fact: bytes) -> None:
    """A format of tomorrow is passed on as it is, its checksum still checked."""
    head = b"REDIS0099" + FACTS + fact
    header = read_header(head)
    assert header is not None
    assert header.size == len(head) - len(fact)
    assert read(rdb(fact) + MARK) == (rdb(fact), [None])


@pytest.mark.parametrize("stream", [b"-ERR not allowed\r\n", b"REDIS", b"REDISxxxx", b"\0" * 100])
def test_what_is_no_rdb_file(stream: bytes) -> None:
    """An error message in the place of data is no backup."""
    assert read(stream) == (b"", ["what the server sent is no RDB file"])


def test_a_server_reads_what_was_changed(tmp_path: Path) -> None:
    """Only Redis itself can say that the file is still one: with everything in it that there is."""
    with RedisServer(tmp_path / "server", dbfilename="own.rdb") as server:
        fill(server)
        server.client().save()
        own = (tmp_path / "server/own.rdb").read_bytes()
        content, told = read(own)
        assert told == [None]
        assert len(content) < len(own)
        with started_from(content, tmp_path / "second") as second:
            assert contents(second) == contents(server)

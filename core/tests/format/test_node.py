"""Nodes: restic's bytes, the fast way and the plain way the same, nothing lost, damage told."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.source import MadeStat
from limpet.errors import IntegrityError
from limpet.format.gojson import JsonValue, quote_name
from limpet.format.node import (
    Node,
    NodeType,
    decode_node,
    encode_node,
    go_mode_from_stat,
    node_from_stat,
    node_json,
    st_mode_from_go,
)
from limpet.format.timestamps import NS_PER_S, Time
from limpet.ids import BlobId


@dataclass(frozen=True)
class FullStat:
    """A stat result with every field free."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_mtime_ns: int
    st_atime_ns: int
    st_ctime_ns: int
    st_rdev: int


UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.sampled_from((0, 1, 2, 2**63, 2**64 - 1)) | st.integers(0, 2**64 - 1)
INSTANTS = st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**75), 2**75)
NAMES = st.binary(min_size=1, max_size=20) | st.text(min_size=1, max_size=10).map(lambda name: name.encode())
IDS = st.integers(0, 9).map(lambda number: BlobId(hashlib.sha256(bytes((number,))).digest()))
FORMATS = (
    stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK, 0, 0o150000,
)  # fmt: skip
ST_MODES = st.builds(int.__or__, st.sampled_from(FORMATS), st.integers(0, 0o7777))
STATS = st.builds(
    FullStat, ST_MODES, UINT64, UINT64, st.integers(0, 3), UINT32, UINT32, UINT64, INSTANTS, INSTANTS, INSTANTS, UINT64
)
MADE_STATS = st.builds(MadeStat, ST_MODES, INSTANTS)
TIMES = st.builds(Time, st.integers(-(2**60), 2**62), st.integers(-1439, 1439).map(lambda minutes: minutes * 60))
XATTRS = st.lists(st.tuples(st.text(max_size=8).map(str.encode), st.binary(max_size=8)), max_size=3)
JSON: st.SearchStrategy[JsonValue] = (
    st.none() | st.integers(0, 2**64 - 1) | st.text(max_size=5) | st.lists(st.booleans())
)
NODES = st.builds(
    Node, name=NAMES, type=st.sampled_from(NodeType), mode=UINT32, mtime=TIMES, atime=TIMES, ctime=TIMES, uid=UINT32,
    gid=UINT32, user=st.text(max_size=8), group=st.text(max_size=8), inode=UINT64, device_id=UINT64, size=UINT64,
    links=UINT64, link_target=st.binary(max_size=12), extended_attributes=XATTRS,
    generic_attributes=st.none() | st.dictionaries(st.text(max_size=6), JSON, min_size=1, max_size=3), device=UINT64,
    content=st.none() | st.lists(IDS, max_size=3), subtree=st.none() | IDS, error=st.text(max_size=8),
    extra=st.dictionaries(st.text(max_size=5).map(lambda key: "x-" + key), JSON, max_size=2),
)  # fmt: skip


ARGUMENTS = st.fixed_dictionaries(
    {"user": st.text(max_size=6), "group": st.text(max_size=6)},
    optional={
        "size": st.none() | UINT64, "content": st.none() | st.lists(IDS, max_size=3), "subtree": st.none() | IDS,
        "link_target": st.none() | st.binary(max_size=9), "xattrs": XATTRS, "atime_ns": st.none() | INSTANTS,
    },
)  # fmt: skip


@settings(max_examples=400)
@given(NAMES, STATS | MADE_STATS, ARGUMENTS)
def test_the_fast_way_is_the_plain_way(name: bytes, status: FullStat | MadeStat, arguments: dict[str, Any]) -> None:
    """Two encoders that differ in one byte would store every folder twice."""
    assert node_json(quote_name(name), status, **arguments) == encode_node(node_from_stat(name, status, **arguments))


@settings(max_examples=400)
@given(NODES)
def test_round_trip(node: Node) -> None:
    """No field, known or not, may change on its way through a repository."""
    encoded = encode_node(node)
    decoded = decode_node(orjson.loads(encoded))
    assert decoded == node
    assert encode_node(decoded) == encoded


@given(st.builds(int.__or__, st.sampled_from(FORMATS[:7]), st.integers(0, 0o7777)))
def test_modes_round_trip(st_mode: int) -> None:
    """Permissions, setuid, setgid, sticky and type come back as they were."""
    assert st_mode_from_go(go_mode_from_stat(st_mode)) == st_mode


def test_modes_of_go() -> None:
    """The numbers are Go's, as in nodes that restic wrote."""
    assert go_mode_from_stat(0o100644) == 420
    assert go_mode_from_stat(0o040755) == 2147484141
    assert go_mode_from_stat(0o041777) == 1 << 31 | 1 << 20 | 0o777
    assert go_mode_from_stat(0o120777) == 134218239
    assert go_mode_from_stat(0o020644) == 69206436
    assert go_mode_from_stat(0o010644) == 33554852
    assert go_mode_from_stat(0o106755) == 1 << 23 | 1 << 22 | 0o755
    assert st_mode_from_go(1 << 31 | 1 << 27 | 0o644) == 0o644


WRITTEN_BY_RESTIC = (
    # restic 0.19.1 on Linux
    b'{"name":"c","type":"chardev","mode":69206436,"mtime":"2026-11-21T21:18:04.901590667Z","atime":"2026-11-21T21:18:0'
    b'4.901590667Z","ctime":"2026-11-21T21:18:04.901590667Z","uid":0,"gid":0,"user":"root","group":"root","inode":21467'
    b'06,"device_id":65024,"links":2,"device":259,"content":null}',
    b'{"name":"sl","type":"symlink","mode":134218239,"mtime":"2026-11-21T21:18:04.897590667Z","atime":"2026-11-21T21:18'
    b':04.897590667Z","ctime":"2026-11-21T21:18:04.897590667Z","uid":0,"gid":0,"user":"root","group":"root","inode":214'
    b'6690,"device_id":65024,"links":2,"linktarget":"a\\ufffd","linktarget_raw":"Yf8=","content":null}',
    # what restic writes on Windows
    b'{"name":"w","type":"file","mode":438,"mtime":"2024-02-29T12:00:00.1234567+01:00","atime":"2024-02-29T12:00:00.123'
    b'4567+01:00","ctime":"0001-01-01T00:00:00Z","uid":0,"gid":0,"generic_attributes":{"windows.creation_time":"gMkFp2E'
    b'i2QE=","windows.file_attributes":32,"windows.security_descriptor":"AQAUvBQAAAA="},"content":[]}',
    b'{"name":"e","type":"file","mode":420,"mtime":"2024-02-29T12:00:00Z","atime":"2024-02-29T12:00:00Z","ctime":"2024-'
    b'02-29T12:00:00Z","uid":0,"gid":0,"size":1,"links":1,"extended_attributes":[{"name":"user.e","value":""},{"name":"'
    b'user.a","value":"AP8="}],"content":[]}',
)  # fmt: skip


@pytest.mark.parametrize("encoded", WRITTEN_BY_RESTIC)
def test_nodes_of_restic(encoded: bytes) -> None:
    """A tree that is read and written again must keep its id."""
    assert encode_node(decode_node(orjson.loads(encoded))) == encoded


def test_what_is_left_out() -> None:
    """The same file must give the same bytes as in restic: no empty field is written, but these always are."""
    empty = Node(b"n", NodeType.FILE, content=[])
    zero = b'"0001-01-01T00:00:00Z"'
    assert encode_node(empty) == (
        b'{"name":"n","type":"file","mtime":%b,"atime":%b,"ctime":%b,"uid":0,"gid":0,"content":[]}' % (zero, zero, zero)
    )


def test_device_id_only_for_hard_links() -> None:
    """Device numbers change with every snapshot of a file system: they must not make every file look new."""
    alone = MadeStat(0o100644, 5 * NS_PER_S, st_dev=9, st_nlink=1)
    linked = MadeStat(0o100644, 5 * NS_PER_S, st_dev=9, st_nlink=2)
    folder = MadeStat(0o040755, 5 * NS_PER_S, st_dev=9, st_nlink=2)
    fifo = MadeStat(0o010644, 5 * NS_PER_S, st_dev=9, st_nlink=2)
    written = [b'"device_id":9' in node_json(b'"a"', s, user="", group="") for s in (alone, linked, folder, fifo)]
    assert written == [False, True, False, True]


BAD_FIELDS: list[tuple[str, Any]] = [
    ("name", 5), ("name", "a\nb"), ("name", 'a"b'), ("name", "\\xg0"), ("type", 1), ("mode", -1), ("mode", 2**32),
    ("mode", True), ("mode", 1.0), ("mode", "1"), ("mtime", "yesterday"), ("atime", 0), ("ctime", []), ("uid", 2**32),
    ("gid", "root"), ("user", []), ("group", {}), ("inode", -1), ("inode", 1e30), ("device_id", "x"), ("size", -5),
    ("links", 1.5), ("linktarget", 1), ("linktarget_raw", "?"), ("linktarget_raw", "YQ"), ("linktarget_raw", "\u00e9"),
    ("extended_attributes", {}), ("extended_attributes", [1]), ("extended_attributes", [{"name": 1}]),
    ("extended_attributes", [{"name": "a", "value": "=A=="}]), ("generic_attributes", []), ("device", "x"),
    ("content", {}), ("content", "ab"), ("content", [None]), ("content", ["ab"]), ("content", ["z" * 64]),
    ("content", [" " * 64]), ("content", ["ab " * 21 + "a"]), ("content", [1]), ("content", ["\u0661" * 64]),
    ("subtree", ""), ("subtree", 3), ("error", 1),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD_FIELDS)
def test_damaged_fields(key: str, value: object) -> None:
    """Damage is told by name; a guess would restore something that never was."""
    fields = orjson.loads(WRITTEN_BY_RESTIC[0])
    decode_node(fields)
    with pytest.raises(IntegrityError):
        decode_node({**fields, key: value})


@given(
    st.recursive(st.none() | st.booleans() | st.text(max_size=3), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
)
def test_no_node_at_all(value: Any) -> None:
    """Only the documented error escapes."""
    try:
        decode_node(value)
    except IntegrityError:
        return


def test_null_reads_as_absent() -> None:
    """Go treats the two alike, so must we with what a Go program wrote."""
    fields = orjson.loads(WRITTEN_BY_RESTIC[0])
    rare = ("linktarget_raw", "extended_attributes", "generic_attributes", "subtree", "error")
    assert decode_node({**fields, **dict.fromkeys(rare)}) == decode_node(fields)
    assert decode_node(dict.fromkeys(fields)) == Node(b"", NodeType.INVALID)

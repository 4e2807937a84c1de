"""Paths, heads and ranges of requests: what they name, and what is refused before anything is looked at."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.backend import FileKind
from limpet_command_serve.head import BadRequestError, decode_escapes, find_head_end, wants_creation
from limpet_command_serve.names import Shape, Target, parse_path
from limpet_command_serve.ranges import ByteRange, UnsatisfiableRangeError, parse_range

ID = "0123456789abcdef" * 4
NAMED = [
    ("/", Target((), Shape.REPOSITORY)),
    ("/a/", Target(("a",), Shape.REPOSITORY)),
    ("/a/b/", Target(("a", "b"), Shape.REPOSITORY)),
    ("/config", Target((), Shape.FILE, FileKind.CONFIG)),
    ("/a/b/config", Target(("a", "b"), Shape.FILE, FileKind.CONFIG)),
    ("/data/", Target((), Shape.LISTING, FileKind.PACK)),
    ("/a/locks/", Target(("a",), Shape.LISTING, FileKind.LOCK)),
    (f"/a/b/keys/{ID}", Target(("a", "b"), Shape.FILE, FileKind.KEY, ID)),
    (f"/snapshots/{ID}", Target((), Shape.FILE, FileKind.SNAPSHOT, ID)),
]
NAMELESS = [
    "",
    "*",
    "a",
    "/a",
    "/data",
    "/a/b/c/",
    "//",
    "//config",
    "/./config",
    "/../config",
    "/a/../config",
    "/.htpasswd",
    "/.removed/config",
    "/a/.uploads/",
    "/a/\0/",
    "/config/",
    "/data/a/",
    f"/config/{ID}",
    f"/data/{ID}/",
    f"/data/{ID.upper()}",
    f"/data/{ID[:-1]}",
    f"/data/{ID}0",
    f"/data/01/{ID}",
    f"/data/{ID}\n",
    f"/{'x' * 256}/config",
]


@pytest.mark.parametrize(("path", "target"), NAMED)
def test_paths(path: str, target: Target) -> None:
    """A path that means another file than for rest-server would make repositories vanish for their clients."""
    assert parse_path(path) == target


@pytest.mark.parametrize("path", NAMELESS)
def test_paths_that_name_nothing(path: str) -> None:
    """What is let through here reaches the disk."""
    assert parse_path(path) is None


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([*"//.\0\n\\a0%~", "data", "config", ID]), max_size=20).map(
        lambda parts: "/" + "".join(parts)
    )
)
def test_no_path_has_parts_that_lead_out(path: str) -> None:
    """Whatever the path, its folders are plain names below the root, and its name an id."""
    target = parse_path(path)
    if target is not None:
        assert len(target.folders) <= 2
        assert all(name and name[0] != "." and "/" not in name and "\0" not in name for name in target.folders)
        assert target.name in {"", ID}


@pytest.mark.parametrize(
    ("header", "size_bytes", "wanted"),
    [
        (None, 10, None),
        ("bytes=0-", 10, ByteRange(0, 10)),
        ("bytes=3-5", 10, ByteRange(3, 6)),
        ("bytes=3-999", 10, ByteRange(3, 10)),
        ("bytes=-4", 10, ByteRange(6, 10)),
        ("bytes=-400", 10, ByteRange(0, 10)),
        ("bytes=0-", 0, None),
        ("bytes=0-1,4-5", 10, None),
        ("bytes=", 10, None),
    ],
)
def test_ranges(header: str | None, size_bytes: int, wanted: ByteRange | None) -> None:
    """A range read otherwise than it is meant is a damaged file for the client."""
    assert parse_range(header, size_bytes) == wanted


@pytest.mark.parametrize(
    "header", ["bytes=10-", "bytes=5-2", "bytes=-", "bytes=x-y", "items=0-4", "0-4", "bytes=\u0663-\u0665"]
)
def test_ranges_that_no_file_has(header: str) -> None:
    """They are answered 416; taken for the whole file they would be data that nobody asked for."""
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, 10)


@settings(max_examples=300)
@given(st.text(st.sampled_from("bytes=-,0123456789 "), max_size=24), st.integers(0, 50))
def test_ranges_are_within_the_file(header: str, size_bytes: int) -> None:
    """Whatever is asked for, no byte beyond the file is promised."""
    try:
        wanted = parse_range(header, size_bytes)
    except UnsatisfiableRangeError:
        return
    assert wanted is None or 0 <= wanted.start <= wanted.end <= size_bytes


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", b"G\rET / H"]
)
def test_heads_that_two_servers_read_differently(head: bytes) -> None:
    """A proxy before us may see another request in them: that is how requests are smuggled."""
    with pytest.raises(BadRequestError):
        find_head_end(head)


def test_heads_come_in_any_pieces() -> None:
    """A head that is cut anywhere is waited for, not refused."""
    head = b"GET /config HTTP/1.1\r\nHost: a\r\n\r\n"
    assert [find_head_end(head[:length]) for length in range(len(head))] == [0] * len(head)
    assert find_head_end(head + b"\nbody") == len(head)


def test_heads_are_short() -> None:
    """Memory for heads is bounded, also for those that never end."""
    with pytest.raises(BadRequestError) as caught:
        find_head_end(b"GET /" + b"a" * 20_000)
    assert caught.value.status == 431


@pytest.mark.parametrize(
    ("query", "wanted"),
    [("create=true", True), ("a=b&%63reate=tru%65", True), ("create=TRUE", False), ("create", False), ("", False)],
)
def test_creation_is_asked_for(query: str, wanted: bool) -> None:
    """A repository is made where the client says so, and never by chance."""
    assert wants_creation(query) is wanted


@pytest.mark.parametrize("path", [b"/%", b"/%zz", b"/%0"])
def test_escapes_that_are_none(path: bytes) -> None:
    """Half an escape may mean anything: it names nothing."""
    with pytest.raises(BadRequestError):
        decode_escapes(path)

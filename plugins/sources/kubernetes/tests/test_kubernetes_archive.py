"""Archives and listings as real tools write them, and what is none."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path
from stat import S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.destination import StoredStatus
from limpet.errors import SourceError
from limpet_source_kubernetes.archive import ArchiveReader
from limpet_source_kubernetes.archive_writer import END, header, padding
from limpet_source_kubernetes.listing import parse_status, read_tree

NAMES = st.binary(min_size=1, max_size=300).map(
    lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_").strip() or b"x"
)
FILES = st.dictionaries(NAMES, st.binary(max_size=1500), max_size=6)
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def members(archive: bytes) -> dict[bytes, bytes]:
    """Content of all regular files, by name."""
    reader = ArchiveReader(io.BytesIO(archive), "a test")
    found = {}
    while (member := reader.next()) is not None:
        content = bytearray(member.size_bytes)
        filled = 0
        while filled < len(content):
            filled += reader.readinto(memoryview(content)[filled:])
        found[member.name] = bytes(content)
    return found


def archived(files: dict[bytes, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive by Python's own writer."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form, errors="surrogateescape") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(os.fsdecode(name))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


@settings(max_examples=60, deadline=None)
@given(FILES, st.sampled_from(FORMATS[1:]), FILES)
def test_reads_what_others_write(files: dict[bytes, bytes], form: int, more: dict[bytes, bytes]) -> None:
    """Long names, odd bytes, several archives one after the other: what `xargs` makes of many names."""
    assert members(archived(files, form) + archived(more, form)) == {**files, **more}


@pytest.mark.parametrize("form", FORMATS)
def test_a_name_in_two_parts(form: int) -> None:
    """The oldest format keeps long names in two fields."""
    name = b"a" * 90 + b"/" + b"b" * 90
    assert members(archived({name: b"x"}, form)) == {name: b"x"}


def test_a_file_of_more_than_eight_gibibytes() -> None:
    """Sizes that have no room in octal are the ones of databases."""
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo("./large")
        info.size = 20 << 30
        reader = ArchiveReader(io.BytesIO(info.tobuf(form)), "a test")
        member = reader.next()
        assert member is not None
        assert (member.name, member.size_bytes) == (b"./large", 20 << 30)


@settings(max_examples=80, deadline=None)
@given(FILES.filter(bool), st.data())
def test_a_cut_archive_is_never_whole(files: dict[bytes, bytes], data: st.DataObject) -> None:
    """Wherever it is cut, before its end mark, it must not look like an archive of fewer files."""
    whole = archived(files)
    used = len(whole.rstrip(b"\0"))
    cut = data.draw(st.integers(min_value=1, max_value=used - 1))
    with pytest.raises(SourceError):
        members(whole[:cut])


@settings(max_examples=80, deadline=None)
@given(st.binary(min_size=1, max_size=2000))
def test_garbage_is_an_error_of_ours(garbage: bytes) -> None:
    """Any other exception would be a traceback, and no exception a loss."""
    if garbage.strip(b"\0"):
        with pytest.raises(SourceError):
            members(garbage)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(-(10**18), 2 * 10**18), st.integers(0, 0o7777), NAMES, st.binary(max_size=2000)
)
def test_writes_what_others_read(uid: int, mtime_ns: int, mode: int, name: bytes, content: bytes) -> None:
    """What comes back must have its name, owner, mode, content and time."""
    status = StoredStatus(S_IFREG | mode, uid, 7, mtime_ns)
    blocks = header(name, status, len(content))
    assert blocks is not None
    archive = blocks + content + bytes(padding(len(content))) + END
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as opened:
        (member,) = opened.getmembers()
        file = opened.extractfile(member)
        assert file is not None
        assert file.read() == content
    assert os.fsencode(member.name) == b"./" + name
    assert (member.mode, member.uid, member.gid) == (mode, uid, 7)
    assert abs(member.mtime - mtime_ns / 10**9) < 1e-5 * max(1, abs(mtime_ns) / 10**9 / 10**9)


@pytest.mark.parametrize("tool", ["tar", "busybox"])
def test_real_tools_unpack_it(tool: str, tmp_path: Path) -> None:
    """They decide what a restored volume looks like."""
    time_ns = 1_700_000_000_123_456_789
    long_name = b"n" * 200 + b"\xff\n"
    target = tmp_path / "unpacked"
    target.mkdir()
    parts = [
        header(b"folder", StoredStatus(S_IFDIR | 0o755, os.geteuid(), os.getegid(), time_ns)),
        header(b"folder/" + long_name, StoredStatus(S_IFREG | 0o640, os.geteuid(), os.getegid(), time_ns), 3),
        b"abc" + bytes(padding(3)),
        header(b"again", StoredStatus(S_IFREG | 0o640, 0, 0, time_ns), 0, b"folder/" + long_name),
        header(b"link", StoredStatus(S_IFLNK | 0o777, os.geteuid(), os.getegid(), time_ns, b"t" * 150 + b"\xff")),
        header(b"pipe", StoredStatus(S_IFIFO | 0o600, os.geteuid(), os.getegid(), time_ns)),
        header(b"folder", StoredStatus(S_IFDIR | 0o755, os.geteuid(), os.getegid(), time_ns)),
        END,
    ]
    argv = ["tar"] if tool == "tar" else ["busybox", "tar"]
    subprocess.run([*argv, "-xpf", "-", "-C", target], input=b"".join(part or b"" for part in parts), check=True)
    file = os.fsencode(target) + b"/folder/" + long_name
    status = os.stat(file)
    assert status.st_mode == S_IFREG | 0o640
    assert status.st_nlink == 2
    assert os.readlink(os.fsencode(target / "link")) == b"t" * 150 + b"\xff"
    assert (target / "pipe").is_fifo()
    precision_ns = 1 if tool == "tar" else 10**9
    assert os.stat(target / "folder").st_mtime_ns // precision_ns == time_ns // precision_ns
    assert status.st_mtime_ns // precision_ns == time_ns // precision_ns


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"yf 644 0 0 1 1 1 1 1 1\0./a\0\0",
        b"yd 755 0 0 1 1 1 1 1 1\0.\0\0yf 644 0 0 1 1 1 1 1 1\0./a",
        b"yd 755 0 0 1 1 1 1 1 1\0.\0\0yf 644 0 0 1 1 1 1 1 1\0./a\0",
    ],
)
def test_half_a_listing_is_none(output: bytes) -> None:
    """Files that are missing in it would be missing in the snapshot."""
    with pytest.raises(SourceError):
        read_tree(_Output(output))


@pytest.mark.parametrize("fields", [b"", b"f 644 0 0", b"? 644 0 0 1 1 1 1 1 1", b"f 999 0 0 1 1 1 1 1 1"])
def test_a_status_that_is_none(fields: bytes) -> None:
    """A tool that understands its arguments otherwise must not make up modes and sizes."""
    with pytest.raises(SourceError):
        parse_status(fields)


class _Output(io.RawIOBase):
    """What a command has printed."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._data.readinto(buffer)

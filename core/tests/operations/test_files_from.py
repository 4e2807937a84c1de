"""Lists of targets in files, read as restic reads them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from limpet.errors import UsageError
from limpet.operations.files_from import collect_targets, expand, parse_patterns, parse_raw, parse_verbatim


def test_lines_of_patterns() -> None:
    """A comment taken for a path fails every backup of a user who comes from restic."""
    data = b"\xef\xbb\xbf# comment\n\n  /a b  \r\n\t#no\n*.c\n/x#y"
    assert parse_patterns(data) == ["/a b", "*.c", "/x#y"]
    assert parse_patterns(b"") == []


def test_verbatim_lines() -> None:
    """Verbatim means that blanks, stars and `#` are parts of names."""
    assert parse_verbatim(b" a \n#b\n\n*\r\ncaf\xe9\n") == [" a ", "#b", "*", "caf\udce9"]


def test_raw_names() -> None:
    """Only zero bytes can separate names that hold line ends; a cut list must not pass for a whole one."""
    assert parse_raw(b"a\nb\0 \0\xff\0") == ["a\nb", " ", "\udcff"]
    assert parse_raw(b"") == []
    with pytest.raises(UsageError, match="trailing zero byte missing"):
        parse_raw(b"a\0b")
    with pytest.raises(UsageError, match="empty filename"):
        parse_raw(b"a\0\0b\0")


def test_expansion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names with a dot in front are matched too, unlike in a shell: nothing hidden is lost."""
    for name in ("a.c", "b.c", ".h.c", "sub/x.c", "sub2/x.c", "sub/y", "[z]", "*"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert expand("*.c") == [".h.c", "a.c", "b.c"]
    assert expand("./[ab].c") == ["a.c", "b.c"]
    assert expand("s*/x.c") == ["sub/x.c", "sub2/x.c"]
    assert expand(f"{tmp_path}/sub?/*") == [f"{tmp_path}/sub2/x.c"]
    assert expand("\\[z]") == ["[z]"]
    assert expand("\\*") == ["*"]
    assert expand("sub/y") == ["sub/y"]
    assert expand("./sub//y") == ["./sub//y"]
    assert expand("gone") == expand("gone/*") == expand("a.c/*") == expand("**/gone") == []
    assert "/proc" in expand("/pro*")
    with pytest.raises(UsageError, match=r"\[a"):
        expand("[a")


def test_all_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists and arguments add up, and a pattern without a match is told, not fatal."""
    monkeypatch.chdir(tmp_path)
    Path("one").touch()
    Path("list").write_text("o*\nnothing*\n")
    Path("verbatim").write_text("two words\n")
    warned: list[str] = []
    targets = collect_targets(
        ["last"],
        files_from=["list"],
        files_from_verbatim=["verbatim"],
        files_from_raw=["-"],
        warn=warned.append,
        stdin=lambda: b"raw\nname\0",
    )
    assert targets == ["one", "two words", "raw\nname", "last"]
    assert warned == ['pattern "nothing*" does not match any files, skipping']
    with pytest.raises(UsageError, match="--files-from-raw: cannot read gone"):
        collect_targets([], files_from_raw=["gone"], warn=warned.append)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A name of any bytes must be found by its pattern."""
    raw = os.fsencode(tmp_path) + b"/caf\xe9"
    os.close(os.open(raw, os.O_CREAT | os.O_WRONLY))
    assert expand(f"{tmp_path}/caf?") == [os.fsdecode(raw)]

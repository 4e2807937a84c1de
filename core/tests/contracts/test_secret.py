"""Secrets of hooks: by variable, file or command, and never told."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from limpet.contracts.secret import given_secret, secret_options
from limpet.errors import UsageError
from limpet.testing.declarations import check_declared_options

SECRET = "https://chat.example/s3cret"


def printing(content: bytes, code: int = 0) -> str:
    """A command line that prints the content."""
    program = f"import sys; sys.stdout.buffer.write({content!r}); sys.exit({code})"
    return shlex.join([sys.executable, "-c", program])


def test_declared_options() -> None:
    """A bad declaration breaks every hook that uses them."""
    options = secret_options("notify", "urls", "addresses")
    check_declared_options(options)
    assert [(option.environment, option.secret) for option in options] == [
        ("LIMPET_NOTIFY_URLS", True),
        ("LIMPET_NOTIFY_URLS_FILE", False),
        ("LIMPET_NOTIFY_URLS_COMMAND", False),
    ]


def test_three_ways(tmp_path: Path) -> None:
    """Whatever secret store somebody has, one of them reaches it; editors add lines and byte order marks."""
    file = tmp_path / "secret"
    file.write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + b"\r\n")
    for options in ({"x": SECRET}, {"x_file": str(file)}, {"x_command": printing(SECRET.encode() + b"\n")}):
        assert given_secret("hook", "x", options) == SECRET
    assert given_secret("hook", "x", {"x": None, "x_file": ""}) is None


def test_several_lines(tmp_path: Path) -> None:
    """A list of addresses has one a line."""
    file = tmp_path / "secret"
    file.write_text("a\nb\n")
    assert given_secret("hook", "x", {"x_file": str(file)}) == "a\nb"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"x": SECRET, "x_command": "true"}, "hook.x and hook.x_command are given, one is enough"),
        ({"x": "  "}, "hook.x: there is nothing in it"),
        ({"x_command": "true"}, "hook.x_command: there is nothing in it"),
        ({"x_command": "'"}, "hook.x_command is not a command line"),
        ({"x_command": " "}, "hook.x_command is empty"),
        ({"x_command": "/does/not/exist"}, "hook.x_command: cannot run /does/not/exist: No such file"),
        ({"x_command": printing(SECRET.encode(), 3)}, "ended with exit status 3"),
        ({"x_command": printing(b"s3cret\xff")}, "hook.x_command: it is no text in UTF-8"),
        ({"x_command": printing(b"s3cret\0")}, "hook.x_command: it holds a zero byte"),
        ({"x_file": "/does/not/exist"}, "hook.x_file: cannot read /does/not/exist: No such file"),
        ({"x_file": "/"}, "hook.x_file: cannot read /: Is a directory"),
    ],
)
def test_mistakes(options: dict[str, str], words: str) -> None:
    """A message without a recipient is found out too late; the message about that holds no secret."""
    with pytest.raises(UsageError, match=words) as caught:
        given_secret("hook", "x", options)
    assert "s3cret" not in str(caught.value)

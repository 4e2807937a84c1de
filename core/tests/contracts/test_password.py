"""Passwords of services: read from a file or a command, and never told."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from limpet.contracts.password import password_options, service_password
from limpet.errors import UsageError
from limpet.testing.declarations import check_declared_options


def command(text: str, code: int = 0) -> str:
    """A command line that prints the text."""
    return shlex.join([sys.executable, "-c", f"import sys; sys.stdout.write({text!r}); sys.exit({code})"])


def test_declared_options() -> None:
    """A bad declaration breaks every source that uses them."""
    options = password_options("mysql")
    check_declared_options(options)
    assert [option.environment for option in options] == [
        "LIMPET_MYSQL_PASSWORD_FILE",
        "LIMPET_MYSQL_PASSWORD_COMMAND",
    ]


@pytest.mark.parametrize("text", ["hunter 2", "hunter 2\n", "hunter 2\r\n"])
def test_password_by_file_and_by_command(text: str, tmp_path: Path) -> None:
    """Editors end the last line, and Windows in its own way: none of that belongs to the password."""
    (tmp_path / "file").write_bytes(text.encode())
    assert service_password("mysql", {"password_file": str(tmp_path / "file")}) == "hunter 2"
    assert service_password("mysql", {"password_command": command(text)}) == "hunter 2"


def test_no_password() -> None:
    """The tool's own places are asked where nothing is given."""
    assert service_password("mysql", {"password_file": None, "password_command": ""}) is None


def test_the_address_comes_first(tmp_path: Path) -> None:
    """Two servers in one snapshot have two passwords."""
    (tmp_path / "file").write_bytes(b"its own")
    options = {"password_command": command("of all")}
    assert service_password("mysql", options, {"password_file": str(tmp_path / "file")}) == "its own"
    assert service_password("mysql", options, {"socket": "x"}) == "of all"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (command(""), "output of password_command is empty"),
        (command("hunter2\nhunter3"), "more than one line"),
        (command("hunter2\0"), "zero byte"),
        (command("hunter2", code=3), "exit status 3"),
        ("no-such-program-anywhere", "cannot run no-such-program-anywhere"),
        ("'hunter2", "not a command line"),
        (" ", "is empty"),
    ],
)
def test_commands_that_give_none(line: str, words: str) -> None:
    """A guess would lock the account; what was printed may be most of a password, and is not repeated."""
    with pytest.raises(UsageError, match=words) as caught:
        service_password("mysql", {"password_command": line})
    assert "hunter" not in str(caught.value)


def test_files_that_give_none(tmp_path: Path) -> None:
    """A file that is missing or empty is named, so that it can be mended."""
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="/empty is empty"):
        service_password("mysql", {"password_file": str(tmp_path / "empty")})
    with pytest.raises(UsageError, match="/missing: No such file"):
        service_password("mysql", {"password_file": str(tmp_path / "missing")})


def test_two_ways_at_once() -> None:
    """Which of the two was meant is not for us to guess."""
    with pytest.raises(UsageError, match="both given"):
        service_password("mysql", {"password_file": "x", "password_command": "y"})

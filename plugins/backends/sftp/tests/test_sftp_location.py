"""restic's locations and options of SFTP, read as restic reads them."""

from __future__ import annotations

import pytest
from limpet.errors import UsageError
from limpet_backend_sftp.backend import SftpBackend
from limpet_backend_sftp.command import ssh_command
from limpet_backend_sftp.location import ServerPath, parse_location


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("//user@host/dir/subdir", ServerPath("host", "dir/subdir", "user")),
        ("//host/dir/subdir", ServerPath("host", "dir/subdir")),
        ("//host//dir/subdir", ServerPath("host", "/dir/subdir")),
        ("//host:10022//dir/subdir", ServerPath("host", "/dir/subdir", None, 10022)),
        ("//user@host:10022//dir/subdir", ServerPath("host", "/dir/subdir", "user", 10022)),
        ("//user@host/dir/subdir/../other", ServerPath("host", "dir/other", "user")),
        ("//user@host/dir///subdir", ServerPath("host", "dir/subdir", "user")),
        ("//user@[::1]/dir", ServerPath("::1", "dir", "user")),
        ("//user@[::1]:22/dir", ServerPath("::1", "dir", "user", 22)),
        ("//user:secret@host/a%20dir", ServerPath("host", "a dir", "user")),
        ("user@host:/dir/subdir", ServerPath("host", "/dir/subdir", "user")),
        ("user@domain@host:/dir/subdir", ServerPath("host", "/dir/subdir", "user@domain")),
        ("host:../dir/subdir", ServerPath("host", "../dir/subdir")),
        ("user@host:dir/subdir:suffix", ServerPath("host", "dir/subdir:suffix", "user")),
        ("user@host://dir///subdir", ServerPath("host", "/dir/subdir", "user")),
        ("host:", ServerPath("host", ".")),
    ],
)
def test_locations(text: str, place: ServerPath) -> None:
    """A location read otherwise than by restic is another repository; what is shown leads to the same one."""
    assert parse_location(text) == place
    shown = str(place)
    assert "secret" not in shown
    assert parse_location(shown.removeprefix("sftp:")) == place


@pytest.mark.parametrize(
    "text",
    ["host", "//host:dir", "//host", "//host:99999/dir", "user@host:~/dir", ":dir", "///dir", "-oProxyCommand=x:dir",
     "//-oProxyCommand=x/dir", "-l@host:dir", "host:a\nb", "host:a\0b",
     "//us%00er@host/dir", "//host/a%0ab", "//me:secret/x@host/dir", ""],
)  # fmt: skip
def test_no_locations(text: str) -> None:
    """A host that begins with a dash would be an option of ssh, one that runs any command."""
    with pytest.raises(UsageError) as caught:
        parse_location(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "arguments", "command", "line"),
    [
        (ServerPath("host", "dir"), None, None, "ssh host -s sftp"),
        (ServerPath("host", "dir", "user"), None, None, "ssh host -l user -s sftp"),
        (ServerPath("::1", "dir", "user", 10022), "-i 'a key'", None, "ssh ::1 -p 10022 -l user -i|a key|-s sftp"),
        (ServerPath("host", "dir"), None, "my-ssh 'to there'", "my-ssh|to there"),
    ],
)
def test_commands(place: ServerPath, arguments: str | None, command: str | None, line: str) -> None:
    """Users' options for restic must give the same call of ssh here."""
    words = [word for part in line.split("|") for word in ([part] if part in {"a key", "to there"} else part.split())]
    assert ssh_command(place, arguments, command) == words


@pytest.mark.parametrize(
    "options",
    [
        {"command": "ssh host", "args": "-v"},
        {"command": "'ssh"},
        {"args": '"-i'},
        {"client": "putty"},
        {"client": "paramiko", "command": "ssh host"},
        {"connections": 0},
        {"command": "  "},
    ],
)
def test_options_that_make_no_sense(options: dict[str, str | int]) -> None:
    """A mistake in an option is told at once, by the option's name, and not as a lost connection."""
    with pytest.raises(UsageError, match=r"sftp\."):
        SftpBackend.open("host:/dir", options)

"""Locations and arguments: restic's grammar, Windows drives, and no secret in any message."""

from __future__ import annotations

import pytest
from limpet.errors import UsageError
from limpet.registry.location import Location, redact, redact_arguments, split_argument, split_location

BACKENDS = {"local", "path", "rest", "s3", "sftp"}
SOURCES = {"path", "files", "postgres", "command"}


@pytest.mark.parametrize(
    ("text", "scheme", "rest"),
    [
        ("/srv/repo", "path", "/srv/repo"),
        ("repo", "path", "repo"),
        ("dir1/dir2", "path", "dir1/dir2"),
        ("/dir1:foobar/dir2", "path", "/dir1:foobar/dir2"),
        ("./odd:name", "path", "./odd:name"),
        ("../odd:name", "path", "../odd:name"),
        ("\\dir1\\foobar\\dir2", "path", "\\dir1\\foobar\\dir2"),
        ("c:\\dir1\\dir2", "path", "c:\\dir1\\dir2"),
        ("C:/dir1/dir2", "path", "C:/dir1/dir2"),
        ("local:/srv/repo", "local", "/srv/repo"),
        ("local:c:\\repo", "local", "c:\\repo"),
        ("path:odd:name", "path", "odd:name"),
        ("rest:https://host:8000/", "rest", "https://host:8000/"),
        ("sftp:user@host:/srv", "sftp", "user@host:/srv"),
        ("s3:s3.amazonaws.com/bucket", "s3", "s3.amazonaws.com/bucket"),
        ("sftp://user@[::1]:22//srv", "sftp", "//user@[::1]:22//srv"),
    ],
)
def test_locations(text: str, scheme: str, rest: str) -> None:
    """A script written for restic names its repository in these ways."""
    assert split_location(text, BACKENDS.__contains__) == Location(scheme, rest)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("foobar:xxx", r"pip install limpet-backend-foobar"),
        ("foobar:/dir/dir2", r"'path:foobar:/dir/dir2'"),
        ("user@host:/srv", "SCHEME:PLACE"),
        ("1x:/srv", "SCHEME:PLACE"),
        ("", "LIMPET_REPOSITORY"),
    ],
)
def test_what_is_neither(text: str, hint: str) -> None:
    """restic refuses these too: a typing mistake must not create a folder called `s4:bucket`."""
    with pytest.raises(UsageError, match=hint):
        split_location(text, BACKENDS.__contains__)


@pytest.mark.parametrize(
    ("text", "scheme", "rest"),
    [
        ("/home", "path", "/home"),
        ("home", "path", "home"),
        ("postgres://localhost/shop", "postgres", "//localhost/shop"),
        ("command:a.txt=echo x", "command", "a.txt=echo x"),
        ("mysql://localhost/shop", "path", "mysql://localhost/shop"),
        ("notes: 2024.txt", "path", "notes: 2024.txt"),
        ("./postgres:x", "path", "./postgres:x"),
        ("c:/postgres", "path", "c:/postgres"),
        (":x", "path", ":x"),
        ("", "path", ""),
    ],
)
def test_arguments(text: str, scheme: str, rest: str) -> None:
    """Files may have colons in their names: only an installed source takes an argument away from them."""
    assert split_argument(text, SOURCES.__contains__) == Location(scheme, rest)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rest:https://user:s3cret@host:8000/x", "rest:https://user:***@host:8000/x"),
        ("rest:https://user:s3/cret@host:8000/x", "rest:https://user:***@host:8000/x"),
        ("rest:https://user:s3@cret@host/", "rest:https://user:***@host/"),
        ("rest:https://:s3cret@host/", "rest:https://:***@host/"),
        ("postgres://u:s3cret@h/db?sslpassword=s3cret&x=1", "postgres://u:***@h/db?sslpassword=***&x=1"),
        ("azure://h/c?sv=1&sig=s3cret", "azure://h/c?sv=1&sig=***"),
        ("rest:http://user@host/x", "rest:http://user@host/x"),
        ("rest:http://host:8000/a@b", "rest:http://host:8000/a@b"),
        ("rest:http://host:/a@b", "rest:http://host:/a@b"),
        ("sftp://user@[2001:db8::1]:2222//srv", "sftp://user@[2001:db8::1]:2222//srv"),
        ("rest:http://[2001:db8::1]:1/x@y", "rest:http://[2001:db8::1]:1/x@y"),
        ("sftp:user@host:/srv", "sftp:user@host:/srv"),
        ("/srv//repo", "/srv//repo"),
    ],
)
def test_redaction(text: str, shown: str) -> None:
    """What is shown of a location ends in logs, mails and screenshots; it must still tell which it is."""
    assert redact(text) == shown
    assert redact(shown) == shown


def test_no_secret_in_messages() -> None:
    """The message about an unknown scheme repeats the location."""
    with pytest.raises(UsageError) as caught:
        split_location("nope:https://user:s3cret@host/", BACKENDS.__contains__)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(split_location("rest:https://user:s3cret@host/", BACKENDS.__contains__))


def test_arguments_without_secrets() -> None:
    """Hooks and their logs are told the command line."""
    arguments = ["-r", "rest:https://u:s3cret@h/", "-o", "s3.key=s3cret", "--option=s3.key=s3cret", "-os3.key=s3cret"]
    assert redact_arguments([*arguments, "backup", "/home"]) == [
        "-r",
        "rest:https://u:***@h/",
        "-o",
        "s3.key=***",
        "--option=s3.key=***",
        "-os3.key=***",
        "backup",
        "/home",
    ]

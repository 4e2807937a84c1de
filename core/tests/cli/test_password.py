"""Passwords by every way, and that none of them ever shows up in a message."""

from __future__ import annotations

import codecs
import os
import pty
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Run

PASSWORD = "geheim-5f3a"
WRONG = "falsch-9d2b"


@pytest.mark.parametrize(
    "content",
    [
        PASSWORD.encode(),
        b"  " + PASSWORD.encode() + b"\r\n",
        codecs.BOM_UTF8 + PASSWORD.encode() + b"\n",
        codecs.BOM_UTF16_LE + PASSWORD.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + PASSWORD.encode("utf-16-be"),
    ],
)
def test_file(run: Run, repository_path: Path, tmp_path: Path, content: bytes) -> None:
    """A password file written on Windows, or with a line end, would be refused."""
    file = tmp_path / "password"
    file.write_bytes(content)
    assert run("-r", repository_path, "-p", file, "snapshots").exit_code == 0


def test_command(run: Run, repository_path: Path, tmp_path: Path) -> None:
    """Passwords from a password store could not be used."""
    file = tmp_path / "a file"
    file.write_text(PASSWORD + "\n")
    assert run("-r", repository_path, "--password-command", f"cat '{file}'", "snapshots").exit_code == 0


@pytest.mark.parametrize("variable", ["LIMPET_PASSWORD", "RESTIC_PASSWORD"])
def test_variable(run: Run, repository_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """`alias restic=limpet` would ask for the password in every cron job."""
    monkeypatch.setenv(variable, PASSWORD)
    assert run("-r", repository_path, "snapshots").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--password-file", "{wrong}"], "wrong password or no key found"),
        (["--password-file", "/nowhere/password"], "/nowhere/password does not exist"),
        (["--password-file", "{wrong}", "--password-command", "cat {wrong}"], "mutually exclusive"),
        (["--password-command", "sh -c 'cat {wrong}; exit 3'"], "sh: exit status 3"),
        (["--password-command", "cat 'unclosed"], "No closing quotation"),
        (["--password-command", "no-such-program-at-all"], "no-such-program-at-all"),
        (["--password-file", "{wrong}", "--insecure-no-password"], "must not be specified together"),
        (["--password-file", "{empty}"], "an empty password is not allowed"),
        (["--insecure-no-password"], "wrong password or no key found"),
    ],
)
def test_failures_name_the_reason_and_no_secret(
    run: Run, repository_path: Path, tmp_path: Path, arguments: Sequence[str], reason: str
) -> None:
    """A user would not know which of the ways failed, or would find the password in a log."""
    (tmp_path / "wrong").write_text(WRONG)
    (tmp_path / "empty").write_text("\n")
    names = {"wrong": str(tmp_path / "wrong"), "empty": str(tmp_path / "empty")}
    given = [argument.format(**names) for argument in arguments]
    for more in ([], ["--json"], ["--debug"]):
        ended = run("-r", repository_path, *given, *more, "snapshots")
        assert ended.exit_code in {1, 12}
        assert reason in ended.err
        assert WRONG not in ended.err + ended.out


@pytest.mark.parametrize(
    "location", ["nosuch:https://user:{}@host.invalid/x", "nosuch:https://h/b?secret={}", "nosuch://u:{}@h/x"]
)
@pytest.mark.parametrize("command", ["snapshots", "init", "unlock"])
def test_no_secret_of_a_location_is_shown(run: Run, location: str, command: str) -> None:
    """A password in the repository's location would end up in the mail that cron sends."""
    for more in ([], ["--json"], ["--debug"]):
        ended = run("-r", location.format(WRONG), "--insecure-no-password", *more, command)
        assert ended.exit_code == 1
        assert WRONG not in ended.out + ended.err


def test_keys_are_added_changed_and_removed(run: Run, repository_path: Path, tmp_path: Path) -> None:
    """Somebody would be locked out of a repository, or a password that was taken back would still open it."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text(PASSWORD)
    new.write_text("neu-4a7f")
    first = run("-r", repository_path, "-p", old, "list", "keys").out.strip()
    added = run(
        "-r", repository_path, "-p", old, "key", "add", "--new-password-file", new, "--user", "u", "--host", "h"
    )
    assert added.out.startswith("saved new key with ID ")
    second = added.out.split()[-1]
    keys = {key["id"]: key for key in run("-r", repository_path, "-p", new, "key", "list", "--json").document}
    assert set(keys) == {first, second}
    assert (keys[second]["userName"], keys[second]["hostName"], keys[second]["current"]) == ("u", "h", True)
    refused = run("-r", repository_path, "-p", new, "key", "remove", second[:10])
    assert (refused.exit_code, "currently used" in refused.err) == (1, True)
    assert run("-r", repository_path, "-p", new, "key", "remove", first[:10]).out == f"removed key {first}\n"
    assert run("-r", repository_path, "-p", old, "snapshots").exit_code == 12
    changed = run("-r", repository_path, "-p", new, "key", "passwd", "--new-insecure-no-password")
    assert changed.exit_code == 0
    assert run("-r", repository_path, "-p", new, "snapshots").exit_code == 12
    assert run("-r", repository_path, "--insecure-no-password", "snapshots").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--new-password-file", "{empty}"], "an empty password is not allowed"),
        (["--new-password-file", "{empty}", "--new-insecure-no-password"], "only either"),
        (["--new-password-file", "/nowhere"], "/nowhere does not exist"),
    ],
)
def test_bad_new_passwords(
    run: Run, repository_path: Path, tmp_path: Path, arguments: Sequence[str], reason: str
) -> None:
    """A repository would get an empty password by mistake."""
    (tmp_path / "empty").write_text("")
    (tmp_path / "old").write_text(PASSWORD)
    given = [argument.format(empty=tmp_path / "empty") for argument in arguments]
    ended = run("-r", repository_path, "-p", tmp_path / "old", "key", "add", *given)
    assert (ended.exit_code, reason in ended.err) == (1, True)
    assert len(list((repository_path / "keys").iterdir())) == 1


def on_terminal(arguments: Sequence[str | Path], answers: Sequence[str]) -> tuple[int, str]:
    """Exit code and screen of a command on a terminal; each prompt (a text that ends in `: `) gets the next answer."""
    child, descriptor = pty.fork()
    if child == 0:
        os.execvp(sys.executable, [sys.executable, "-m", "limpet.cli.main", *map(str, arguments)])
    screen, since, left = b"", 0, list(answers)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([descriptor], [], [], 0.2)[0]:
            continue
        try:
            screen += os.read(descriptor, 65536)
        except OSError:  # the other side is closed
            break
        if left and screen[since:].endswith(b": "):
            since = len(screen)
            os.write(descriptor, left.pop(0).encode() + b"\n")
    else:
        os.kill(child, 9)
    os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), screen.decode()


def test_prompts(tmp_path: Path) -> None:
    """Nobody could use it by hand, a mistyped new password would lock its owner out, or it would show on the screen."""
    path = tmp_path / "new repository"
    exit_code, screen = on_terminal(["init", "-r", path], [PASSWORD, WRONG])
    assert (exit_code, "passwords do not match" in screen) == (1, True)
    assert not path.exists()
    exit_code, screen = on_terminal(["init", "-r", path], [PASSWORD, PASSWORD])
    assert (exit_code, "enter password again: " in screen) == (0, True)
    exit_code, screen = on_terminal(["-r", path, "snapshots"], [WRONG, "", PASSWORD])
    assert exit_code == 0
    assert screen.count("Try again") == 2
    assert "repository " in screen
    assert " opened (version 2, compression level auto)" in screen
    assert PASSWORD not in screen
    assert WRONG not in screen

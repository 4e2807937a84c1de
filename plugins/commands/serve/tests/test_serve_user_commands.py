"""`limpet serve user`: users come, change and go, and rest-server still reads the file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from limpet.cli.session import Session
from limpet.errors import UsageError
from limpet_command_serve.htpasswd import decode_htpasswd, is_password
from limpet_command_serve.rights import Access, Rights
from limpet_command_serve.rights_file import decode_rights
from limpet_command_serve.user_commands import user_group


def run(*words: str, typed: str = "") -> Result:
    """The command, run; its error raised."""
    return CliRunner().invoke(user_group, words, input=typed, obj=Session(), catch_exceptions=False)


def hash_of(root: Path, name: str) -> str:
    """What the file says."""
    return decode_htpasswd((root / ".htpasswd").read_bytes()).hashes[name]


def test_add_change_list_remove(tmp_path: Path) -> None:
    """The whole life of a user; nobody but the server can read the files."""
    place = ("--path", str(tmp_path))
    run("add", "web1", *place, "--write-only", "--quota", "100G", "--retention-days", "30", typed="geheim\n")
    run("add", "admin", *place, typed="sesam\n")
    assert is_password(hash_of(tmp_path, "web1"), b"geheim")
    rights = tmp_path / ".htpasswd.rights.json"
    assert decode_rights(rights.read_bytes()) == {"web1": Rights(Access.WRITE_ONLY, 100 << 30, 30)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    run("change", "web1", *place, "--append-only", "--no-quota")
    assert decode_rights(rights.read_bytes()) == {"web1": Rights(Access.APPEND_ONLY, None, 30)}
    listed = run("list", *place).output
    assert [line.split() for line in listed.splitlines()[2:4]] == [
        ["admin", "full"],
        ["web1", "append-only", "30", "days"],
    ]
    run("remove", "web1", *place)
    assert decode_rights(rights.read_bytes()) == {}
    assert list(decode_htpasswd((tmp_path / ".htpasswd").read_bytes()).hashes) == ["admin"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".htpasswd", ".htpasswd.rights.json"]


def test_the_password_comes_from_a_file_or_a_command_too(tmp_path: Path) -> None:
    """Scripts add users; a password on a command line is seen by everybody on the machine."""
    place = ("--htpasswd-file", str(tmp_path / "users"))
    (tmp_path / "secret").write_text("aus der Datei\n")
    run("add", "a", *place, "--new-password-file", str(tmp_path / "secret"))
    run("add", "b", *place, "--new-password-command", "echo vom Programm")
    hashes = decode_htpasswd((tmp_path / "users").read_bytes()).hashes
    assert is_password(hashes["a"], b"aus der Datei")
    assert is_password(hashes["b"], b"vom Programm")


def test_nobody_is_replaced_by_accident(tmp_path: Path) -> None:
    """A second `add` with a name that is taken would lock a machine out of its backups."""
    place = ("--path", str(tmp_path))
    run("add", "web1", *place, typed="eins\n")
    with pytest.raises(UsageError, match="--replace"):
        run("add", "web1", *place, typed="zwei\n")
    assert is_password(hash_of(tmp_path, "web1"), b"eins")
    run("add", "web1", *place, "--replace", typed="zwei\n")
    assert is_password(hash_of(tmp_path, "web1"), b"zwei")
    assert not (tmp_path / ".htpasswd.rights.json").exists()


@pytest.mark.parametrize("name", ["a:b", "a/b", "..", "", "data", "two words"])
def test_names_that_cannot_work_are_refused(tmp_path: Path, name: str) -> None:
    """Rest-server ignores some of them, and others can never be a folder."""
    with pytest.raises(UsageError, match="name"):
        run("add", name, "--path", str(tmp_path), typed="x\n")
    assert list(tmp_path.iterdir()) == []


def test_messages_hold_no_password(tmp_path: Path) -> None:
    """What is shown ends up in logs."""
    secret = "x" * 80
    with pytest.raises(UsageError) as raised:
        run("add", "web1", "--path", str(tmp_path), typed=secret + "\n")
    assert secret not in str(raised.value)
    with pytest.raises(UsageError, match="no user eve"):
        run("remove", "eve", "--path", str(tmp_path))
    with pytest.raises(UsageError, match="--path"):
        run("list")

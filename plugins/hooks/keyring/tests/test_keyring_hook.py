"""The keyring hook with GNOME's keyring and with pass: passwords found, missing, locked away, and never shown."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from limpet.contracts.options import OptionValue
from limpet.errors import HookError, UsageError
from limpet.registry import hooks
from limpet.testing.hook import HookConformance
from limpet_hook_keyring import KeyringHook

from tests.hooks.desk import PASSWORD, Desk
from tests.services.desktop_keyring import DesktopKeyring, PasswordStore
from tests.services.waiting import wait_for

PLACE = "rest:https://me@host/it's mine/"


class TestKeyringHookConformance(HookConformance):
    """What every hook must do."""

    hook_class = KeyringHook


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DesktopKeyring]:
    """A desktop with an open keyring."""
    keyring = DesktopKeyring(tmp_path_factory.mktemp("desktop"))
    yield keyring
    keyring.close()


@pytest.fixture(scope="module")
def pass_store() -> Iterator[PasswordStore]:
    """pass, with one entry."""
    store = PasswordStore()
    store.store("backup/local:/srv/it's mine", "s3cret of pass\nurl: something else\n")
    yield store
    store.close()


def desk_of(folder: Path, environment: Mapping[str, str]) -> Desk:
    """A desk whose password is asked for."""
    desk = Desk(folder)
    del desk.environment["LIMPET_PASSWORD"]
    desk.environment.update(environment)
    return desk


def given(options: Mapping[str, str], location: str = PLACE) -> str | None:
    """The password that the hook gives."""
    return hooks({f"keyring.{name}": value for name, value in options.items()}, ["keyring"]).password(location)


def test_a_repository_by_the_desktops_keyring(desktop: DesktopKeyring, tmp_path: Path) -> None:
    """From `init` on nobody has to type the password, nor to write it into a file."""
    desk = desk_of(tmp_path, desktop.environment)
    place = f"local:{desk.repository}"
    none = desk.limpet("init", "--hook", "keyring")
    assert none.returncode == 1
    assert none.stderr == (
        "Fatal: hook keyring failed at password: the keyring has no password for"
        f" {place}; store it with `keyring set limpet '{place}'`, or give the password in another way\n"
    )
    desktop.store("limpet", place, PASSWORD)
    for command in (["init"], ["backup", str(desk.work)], ["check"]):
        done = desk.limpet(*command, "--hook", "keyring")
        assert done.returncode == 0, done.stderr
        assert PASSWORD not in done.stdout + done.stderr
    assert desk.limpet("snapshots", LIMPET_PASSWORD=PASSWORD).returncode == 0


def test_a_wrong_password_in_the_keyring(desktop: DesktopKeyring, tmp_path: Path) -> None:
    """Who looks at a script's `wrong password` has to be told that it came from the keyring."""
    desk = desk_of(tmp_path, desktop.environment)
    assert desk.limpet("init", LIMPET_PASSWORD=PASSWORD).returncode == 0
    desktop.store("limpet", f"local:{desk.repository}", "an old one")
    done = desk.limpet("snapshots", "--hook", "keyring")
    assert done.returncode == 12
    assert "(the password is the one that a hook gave)" in done.stderr
    assert "an old one" not in done.stderr
    given_otherwise = desk.limpet("snapshots", "--hook", "keyring", LIMPET_PASSWORD=PASSWORD)
    assert given_otherwise.returncode == 0, "a password that is given comes before the keyring's"


def test_two_repositories(desktop: DesktopKeyring, tmp_path: Path) -> None:
    """Each has its own password: `copy` must not try one on the other."""
    first, second = (desk_of(tmp_path / name, desktop.environment) for name in ("first", "second"))
    for desk, password in ((first, "one"), (second, "two")):
        desktop.store("limpet", f"local:{desk.repository}", password)
        assert desk.limpet("init", "--hook", "keyring").returncode == 0
    assert first.limpet("backup", first.work, "--hook", "keyring").returncode == 0
    done = second.limpet("copy", "--from-repo", first.repository, "--hook", "keyring")
    assert done.returncode == 0, done.stderr
    assert second.snapshots() == 1


def test_names(desktop: DesktopKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that is there already, under another name, has to be found too."""
    for name, value in desktop.environment.items():
        monkeypatch.setenv(name, value)
    desktop.store("restic", "laptop", "s3cret ü\t ")
    assert given({"service": "restic", "entry": "laptop"}) == "s3cret ü\t "
    monkeypatch.setenv("LIMPET_KEYRING_ENTRY", "laptop")
    assert given({"service": "restic"}) == "s3cret ü\t "
    with pytest.raises(HookError, match="has no password for laptop; store it with `keyring set limpet 'laptop'`"):
        given({})


def test_no_keyring(tmp_path: Path) -> None:
    """cron has no desktop: the message has to say so, not that the password is wrong."""
    desk = desk_of(tmp_path, {"DBUS_SESSION_BUS_ADDRESS": "", "XDG_RUNTIME_DIR": "/does/not/exist"})
    assert desk.limpet("init", LIMPET_PASSWORD=PASSWORD).returncode == 0
    done = desk.limpet("snapshots", "--hook", "keyring")
    assert done.returncode == 1
    assert done.stderr.startswith("Fatal: hook keyring failed at password: there is no keyring here: ")
    assert done.stderr.count("\n") == 1
    warned = desk.limpet("snapshots", "-o", "keyring.on_error=warn")
    assert warned.returncode == 1
    assert warned.stderr.startswith("hook keyring failed at password: there is no keyring here: ")
    assert "an empty password is not allowed" in warned.stderr, "it went on to ask for one"


def test_locked_keyring(tmp_path: Path) -> None:
    """Nobody is there to unlock it at night: that is what has to be said."""
    keyring = DesktopKeyring(tmp_path / "desktop")
    try:
        desk = desk_of(tmp_path, keyring.environment)
        keyring.store("limpet", f"local:{desk.repository}", PASSWORD)
        keyring.lock()
        assert desk.limpet("init", LIMPET_PASSWORD=PASSWORD).returncode == 0
        done = desk.limpet("snapshots", "--hook", "keyring")
        assert (done.returncode, done.stderr) == (
            1,
            "Fatal: hook keyring failed at password: the keyring is locked, and was not unlocked;"
            " unlock it, then run this again\n",
        )
        keyring.freeze()
        done = desk.limpet("snapshots", "-o", "keyring.timeout=500ms")
        assert done.returncode == 1
        assert "the keyring gave no answer within 0.5 s; it may wait for somebody to unlock it" in done.stderr
    finally:
        keyring.close()


def test_pass(pass_store: PasswordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of an entry is the password, as everybody has it who uses pass."""
    for name, value in pass_store.environment.items():
        monkeypatch.setenv(name, value)
    place = "local:/srv/it's mine"
    assert given({"command": "pass show 'backup/{entry}'"}, place) == "s3cret of pass"
    assert given({"command": "pass show {service}/{entry}", "service": "backup"}, place) == "s3cret of pass"
    with pytest.raises(HookError, match="pass ended with exit status 1: Error: nothing is not in the password store"):
        given({"command": "pass show {entry}", "entry": "nothing"})


def test_secret_tool(desktop: DesktopKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's own command does where Python's library cannot reach it."""
    for name, value in desktop.environment.items():
        monkeypatch.setenv(name, value)
    desktop.store("limpet", PLACE, "s3cret of the desktop")
    line = "secret-tool lookup service {service} username {entry}"
    assert given({"command": line}) == "s3cret of the desktop"
    with pytest.raises(HookError, match="secret-tool ended with exit status 1"):
        given({"command": line, "entry": "nothing"})


def python(program: str) -> str:
    """A command line that runs the program."""
    return shlex.join([sys.executable, "-c", program])


def test_no_shell_sees_the_location() -> None:
    """It is a name, not a part of a command."""
    program = "import sys; print(sys.argv[1:])"
    assert given({"command": f"{python(program)} {{entry}}"}, "a; echo $(b) 'c") == str(["a; echo $(b) 'c"])


def test_any_bytes() -> None:
    """A password need be no valid UTF-8; the same bytes have to come out as from --password-file."""
    password = given({"command": python(r"import sys; sys.stdout.buffer.write(b'\xff\xfe \r\nmore')")})
    assert password is not None
    assert password.encode("utf-8", "surrogateescape") == b"\xff\xfe "


def test_command_that_hangs(tmp_path: Path) -> None:
    """A store that waits for its own password for ever holds no run; nothing it started goes on."""
    pid = tmp_path / "pid"
    line = f"echo s3cret; sleep 99 & echo $! > {shlex.quote(str(pid))}; wait"
    begin = time.monotonic()
    with pytest.raises(HookError, match=r"sh took longer than 0\.5 s and was ended") as caught:
        given({"command": shlex.join(["sh", "-c", line]), "timeout": "500ms"})
    assert time.monotonic() - begin < 20
    assert "s3cret" not in repr(caught.value) + repr(caught.value.__cause__)
    wait_for(lambda: not is_running(int(pid.read_text())), "the end of what was started")


def is_running(pid: int) -> bool:
    """Whether the process is there, and not only its remains."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/does/not/exist", "cannot run /does/not/exist: No such file"),
        ("true", f"true printed no password for {PLACE}"),
        (python("import sys; print('s3cret'); sys.exit('no key')"), "ended with exit status 1: no key"),
    ],
)
def test_failing_command(command: str, words: str) -> None:
    """Half an answer is none, and what was printed is a secret all the same."""
    with pytest.raises(HookError) as caught:
        given({"command": command})
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "keyring.timeout must be longer than nothing"),
        ({"command": "'"}, "keyring.command is not a command line"),
        ({"command": " "}, "keyring.command is empty"),
    ],
)
def test_mistakes(options: dict[str, OptionValue], words: str) -> None:
    """A wrong setting has to be told as such."""
    with pytest.raises(UsageError, match=words):
        KeyringHook({**{option.name: option.default for option in KeyringHook.options}, **options})

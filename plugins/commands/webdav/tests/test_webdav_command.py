"""What the command asks for before it serves anything, and who gets past the guard."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from pathlib import Path

import pytest
from limpet.cli.main import main
from limpet.contracts.guesses import FREE_GUESSES, TooManyAttempts
from limpet.errors import UsageError
from limpet.testing.command import CommandConformance
from limpet_command_webdav import WebdavCommand
from limpet_command_webdav.address import Address, parse_address
from limpet_command_webdav.guard import Environ, Guard, StartResponse
from limpet_command_webdav.names import bytes_of, shown, text_of, url_path
from limpet_command_webdav.sign_in import REMEMBERED_S, Credentials, SignIn

SECRET = "an ünusual:password"


class TestWebdavCommand(CommandConformance):
    """All that Limpet asks of a command."""

    command_class = WebdavCommand
    command_name = "webdav"


@pytest.mark.parametrize(
    ("text", "address", "is_loopback"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), True),
        ("127.9.9.9:1", Address("127.9.9.9", 1), True),
        ("localhost:0", Address("localhost", 0), True),
        ("[::1]:8080", Address("::1", 8080), True),
        ("0.0.0.0:80", Address("0.0.0.0", 80), False),
        ("[::]:80", Address("::", 80), False),
        ("backup.example:443", Address("backup.example", 443), False),
    ],
)
def test_addresses(text: str, address: Address, is_loopback: bool) -> None:
    """An address that is wrongly taken for this machine's own would open all snapshots to the network."""
    assert parse_address(text) == address
    assert address.is_loopback == is_loopback
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["8080", ":8080", "127.0.0.1", "::1:8080", "http://localhost:8080", "a b:1", "x:99999"]
)
def test_what_is_no_address(text: str) -> None:
    """A typing mistake is said, with the form that is right."""
    with pytest.raises(UsageError, match=r"HOST:PORT, such as 127\.0\.0\.1:8080"):
        parse_address(text)


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        (["--listen", "0.0.0.0:0"], {}, "other machines could read every snapshot; give --user and a password"),
        (["--user", "ann"], {}, "give a password: -o webdav.password_file=FILE"),
        ([], {"LIMPET_WEBDAV_PASSWORD": SECRET}, "give --user too"),
        (["--user", "ann", "--no-auth"], {"LIMPET_WEBDAV_PASSWORD": SECRET}, "give one of them"),
        (["--user", "a:b"], {"LIMPET_WEBDAV_PASSWORD": SECRET}, "no colon"),
        (["--user", "ann"], {"LIMPET_WEBDAV_PASSWORD_FILE": "/nowhere"}, "cannot read /nowhere"),
        (["--listen", "localhost"], {}, "not of the form HOST:PORT"),
        (["--time-template", ""], {}, "time template string cannot be empty"),
    ],
)
def test_refusals(
    *,
    flags: list[str],
    environment: dict[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What would serve to the wrong people, or to nobody, ends at once with one line; no password is in it."""
    monkeypatch.setenv("LIMPET_REPOSITORY", str(tmp_path / "none"))
    monkeypatch.setenv("LIMPET_PASSWORD", "password")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["webdav", *flags]) == 1
    said = capfd.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert SECRET not in said


def basic(user: str, password: str) -> str:
    """The header of a client that signs in."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, "401"),
        (basic("ann", SECRET), "200"),
        (basic("ann", SECRET).replace("Basic", "basic"), "200"),
        (basic("ann", "wrong"), "401"),
        (basic("ann", ""), "401"),
        (basic("bob", SECRET), "401"),
        ("Basic", "401"),
        ("Basic !!!", "401"),
        ("Basic " + base64.b64encode(b"\xff\xfe").decode(), "401"),
        ("Digest username=ann", "401"),
        ("Bearer " + base64.b64encode(f"ann:{SECRET}".encode()).decode(), "401"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PUT"])
def test_signing_in(header: str | None, status: str, method: str) -> None:
    """Whoever does not know both user and password gets nothing, not even what he may do here."""
    warnings: list[str] = []
    answered: list[str] = []

    def start_response(line: str, _headers: object) -> None:
        answered.append(line.split(maxsplit=1)[0])

    def application(_environ: Environ, begin: StartResponse) -> list[bytes]:
        begin("200 OK", [])
        return []

    guard = Guard(application, credentials=Credentials("ann", SECRET), only_loopback_names=False, warn=warnings.append)
    environ = {"REQUEST_METHOD": method, "PATH_INFO": "/", "REMOTE_ADDR": "192.0.2.7", "wsgi.input": io.BytesIO()}
    list(guard(environ if header is None else {**environ, "HTTP_AUTHORIZATION": header}, start_response))
    assert answered == ["405" if (status, method) == ("200", "PUT") else status]
    wrong = status == "401" and header is not None
    assert warnings == (["wrong user or password from 192.0.2.7"] if wrong else [])


def test_guessing_shuts_out_the_guesser() -> None:
    """Whoever was let in a moment ago, or asks from elsewhere, reads on while somebody at his address guesses."""
    now_s = [50.0]
    sign_in = SignIn(Credentials("ann", SECRET), now=lambda: now_s[0])
    assert sign_in.is_right(basic("ann", SECRET), "192.0.2.1")
    for number in range(FREE_GUESSES):
        assert not sign_in.is_right(basic(f"user {number}", SECRET), "192.0.2.1")
    with pytest.raises(TooManyAttempts):
        sign_in.is_right(basic("another", SECRET), "192.0.2.1")
    assert sign_in.is_right(basic("ann", SECRET), "192.0.2.1")
    assert sign_in.is_right(basic("ann", SECRET), "192.0.2.2")
    now_s[0] += 2 * REMEMBERED_S
    for _ in range(FREE_GUESSES):
        with suppress(TooManyAttempts):
            sign_in.is_right(basic("ann", "x"), "192.0.2.1")
    with pytest.raises(TooManyAttempts):
        sign_in.is_right(basic("ann", SECRET), "192.0.2.1")


def test_a_password_does_not_show() -> None:
    """Tracebacks and logs print objects."""
    assert SECRET not in repr(Credentials("ann", SECRET))


@pytest.mark.parametrize("name", [b"plain", b"\xff\x00\x01 &?#%2F", "ü🐚".encode(), bytes(range(1, 256))])
def test_names_keep_every_byte(name: bytes) -> None:
    """A file whose name changes on the way cannot be asked for."""
    assert bytes_of(text_of(name)) == name
    assert url_path(text_of(name)).isascii()
    assert shown(text_of(name)).encode()

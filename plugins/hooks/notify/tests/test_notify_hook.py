"""The notify hook with an SMTP server and HTTP servers: who is told what, and what becomes of a run when nobody is."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from limpet.contracts.hooks import RunInfo, RunResult
from limpet.contracts.options import OptionValue
from limpet.errors import HookError, UsageError
from limpet.testing.hook import HookConformance
from limpet_hook_notify import NotifyHook

from tests.hooks.telling import assert_hidden, told
from tests.services.http_receiver import HttpReceiver
from tests.services.mail_server import MailServer
from tests.services.process import free_port

SECRET = "s3cret-t0ken"
RUN = RunInfo("backup", "rest:https://u:***@host/", [], "vm", started_ns=1_700_000_000 * 10**9, profile="home")
FAILED = RunResult(1, "no space left", {"files_new": 3}, 1, [f"line {number}" for number in range(100)])


def run(options: Mapping[str, str], result: RunResult, run: RunInfo = RUN) -> list[str]:
    """One run with the hook; what is warned of."""
    return told("notify", options, result, run=run)


@pytest.fixture
def receiver() -> HttpReceiver:
    """The server's side."""
    return HttpReceiver()


@pytest.fixture
def url(receiver: HttpReceiver) -> Iterator[str]:
    """Apprise's address of a webhook."""
    with receiver.running() as address:
        yield address.replace("http://", f"json://me:{SECRET}@") + f"/hook/{SECRET}"


@pytest.fixture(scope="module")
def mail_server() -> Iterator[MailServer]:
    """A server that takes mail of one user."""
    server = MailServer("limpet", SECRET)
    yield server
    server.close()


def mail_address(server: MailServer, password: str = SECRET) -> str:
    """Apprise's address of the server."""
    return (
        f"mailto://limpet:{password}@127.0.0.1:{server.port}"
        "?mode=insecure&from=limpet@example.org&to=admin@example.org,second@example.org&format=text"
    )


class TestNotifyHookConformance(HookConformance):
    """What every hook must do."""

    hook_class = NotifyHook

    @pytest.fixture
    def settings(self, url: str) -> Mapping[str, OptionValue]:
        """A webhook that is told everything."""
        return {"urls": url, "when": "always"}


@pytest.mark.parametrize(
    ("when", "told"),
    [
        (None, {1, 3, 130, "0 with a warning"}),
        ("failure", {1, 130}),
        ("warning", {3, "0 with a warning"}),
        ("success", {0}),
        ("success,failure", {0, 1, 130}),
        ("always", {0, 1, 3, 130, "0 with a warning"}),
    ],
)
def test_when(url: str, receiver: HttpReceiver, when: str | None, told: set[int | str]) -> None:
    """Who is told of every success reads none of it; who is not told of a failure has no backup."""
    results = {code: RunResult(code) for code in (0, 1, 3, 130)} | {"0 with a warning": RunResult(0, warnings=1)}
    heard = set()
    for name, result in results.items():
        before = len(receiver.received)
        assert run({"urls": url, **({"when": when} if when else {})}, result) == []
        heard |= {name} if len(receiver.received) > before else set()
    assert heard == told


def test_webhook(url: str, receiver: HttpReceiver) -> None:
    """A chat's webhook gets the title, the facts and the last lines, with its token where it belongs."""
    assert run({"urls": url}, FAILED) == []
    [request] = receiver.received
    assert request.path == f"/hook/{SECRET}"
    assert request.headers["Authorization"].startswith("Basic ")
    document = json.loads(request.body)
    assert document["title"] == "limpet backup on vm: failure (exit code 1)"
    assert document["type"] == "failure"
    assert document["message"].splitlines() == [
        "repository: rest:https://u:***@host/",
        "profile: home",
        "started: 2023-11-14 22:13:20 UTC, took 0.0 s",
        "error: no space left",
        "warnings: 1",
        "files new: 3",
        "",
        "(80 earlier lines are left out)",
        *FAILED.log[-20:],
    ]


def test_mail(mail_server: MailServer) -> None:
    """A whole mail in one's own language, to all who should have it, through a server that wants a password."""
    mail_server.mails.clear()
    options = {"urls": mail_address(mail_server), "log_lines": "0", "title": "Büro: {command} {outcome} {exit_code}"}
    assert run(options, RunResult(1, "kein Platz in /größe")) == []
    assert {recipient for mail in mail_server.mails for recipient in mail.recipients} == {
        "admin@example.org",
        "second@example.org",
    }
    mail = mail_server.mails[0]
    assert mail.sender == "limpet@example.org"
    assert mail.message["Subject"] == "Büro: backup failure 1"
    assert "error: kein Platz in /größe" in mail.text
    assert "line 99" not in mail.text


def test_several_recipients(
    url: str, receiver: HttpReceiver, mail_server: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is down does not keep the others from being told; which one it is has to be said."""
    mail_server.mails.clear()
    nobody = f"json://127.0.0.1:{free_port()}/{SECRET}"
    file = tmp_path / "urls"
    file.write_text(f"# the team\n{nobody}\n{url}\n\n  # by mail, too\n{mail_address(mail_server)}\n")
    monkeypatch.setenv("LIMPET_NOTIFY_URLS_FILE", str(file))
    monkeypatch.setenv("LIMPET_HOOKS", "notify")
    [warning] = run({"tries": "1"}, FAILED)
    assert warning.startswith("hook notify failed at run ended: recipient 1 (json) was not told: ")
    assert len(receiver.received) == 1
    assert mail_server.mails


def test_wrong_password_of_the_mail_server(mail_server: MailServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Passwords change: that messages no longer arrive has to be told, without either of them."""
    mail_server.mails.clear()
    [warning] = run({"urls": mail_address(mail_server, "0ther-secret"), "tries": "1"}, FAILED)
    assert warning.startswith("hook notify failed at run ended: recipient 1 (mailto) was not told: ")
    assert "0ther-secret" not in warning + "".join(capfd.readouterr())
    assert mail_server.mails == []


def test_refused_mail(mail_server: MailServer) -> None:
    """A mail that the server does not take is none that was sent."""
    mail_server.mails.clear()
    mail_server.refuses_with = "554 no thanks"
    try:
        [warning] = run({"urls": mail_address(mail_server), "tries": "1"}, FAILED)
    finally:
        mail_server.refuses_with = None
    assert "recipient 1 (mailto) was not told" in warning


def test_tried_again(url: str, receiver: HttpReceiver) -> None:
    """A chat's server that is restarted just then is no reason to stay silent."""
    receiver.answers.extend([(503, b""), (503, b"")])
    assert run({"urls": url}, FAILED) == []
    assert len(receiver.received) == 3


def test_refused_message(url: str, receiver: HttpReceiver, capfd: pytest.CaptureFixture[str]) -> None:
    """What the library says of it is passed on, without the token; nothing of it is printed by the way."""
    receiver.answers.extend([(403, b"no " + SECRET.encode())] * 2)
    [warning] = run({"urls": url, "tries": "2"}, FAILED)
    assert "403" in warning
    assert SECRET not in warning
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("apprise").propagate


def test_on_error_fail() -> None:
    """Some would rather have a failed run than one of which nobody hears; the traceback holds no token either."""
    urls = f"json://me:{SECRET}@127.0.0.1:{free_port()}/{SECRET}"
    with pytest.raises(HookError, match=r"recipient 1 \(json\) was not told") as caught:
        run({"urls": urls, "on_error": "fail", "tries": "1"}, FAILED)
    assert_hidden(SECRET, caught.value)


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_server_that_does_not_end(url: str, receiver: HttpReceiver, how: str) -> None:
    """A chat that never answers must not hold the run."""
    setattr(receiver, how, True)
    begin = time.monotonic()
    [warning] = run({"urls": url, "timeout": "300ms", "tries": "2"}, FAILED)
    assert time.monotonic() - begin < 10
    assert "recipient 1 (json) was not told" in warning


def test_only_for_some_commands(url: str, receiver: HttpReceiver) -> None:
    """A mistyped listing of snapshots is no reason to wake anybody."""
    run({"urls": url, "commands": "backup"}, RunResult(1), RunInfo("snapshots", "path:/r"))
    assert receiver.received == []


def test_control_characters(url: str, receiver: HttpReceiver) -> None:
    """Names of files are any bytes: what they do to a terminal or to a mail's head they must not do here."""
    run(
        {"urls": url, "title": "{profile}"}, RunResult(1, "\x1b[2J\0 na\udcffme"), RunInfo("backup", "", profile="a\nb")
    )
    document = json.loads(receiver.received[0].body)
    assert document["title"] == "a b"
    assert "error: ?[2J? na?me" in document["message"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"when": "always"}, "say to whom"),
        ({"urls": "# nobody"}, "there is no address"),
        ({"urls": f"json://h {SECRET}"}, "address number 2 is none"),
        ({"urls": f"json://h nosuchthing://{SECRET}"}, r"recipient 2 \(nosuchthing\): Apprise knows no such service"),
        ({"urls": f"tgram://{SECRET}"}, r"recipient 1 \(tgram\)"),
        ({"urls": "json://h", "urls_file": "/x"}, "are given, one is enough"),
        ({"urls": "json://h", "when": "failures"}, "'failures' is none of failure, warning, success"),
        ({"urls": "json://h", "when": ","}, "is none of failure"),
        ({"urls": "json://h", "title": "{nothing}"}, r"there is no \{nothing\}; possible: \{command\}"),
        ({"urls": "json://h", "title": "{command.__class__}"}, "there is no"),
        ({"urls": "json://h", "title": "{command:x}"}, "there is no"),
        ({"urls": "json://h", "title": "{"}, "notify.title"),
        ({"urls": "json://h", "timeout": "0"}, "notify.timeout must be 0.1 at least"),
    ],
)
def test_mistakes(options: dict[str, str], words: str) -> None:
    """A wrong address is found before the backup, not when there is something to tell; and it is not shown."""
    with pytest.raises(UsageError, match=words) as caught:
        run(options, RunResult(0))
    assert SECRET not in str(caught.value)

"""The healthchecks hook against an HTTP server: what it is sent, and what becomes of a run when it is not there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from limpet.contracts.hooks import RunInfo, RunResult
from limpet.contracts.options import OptionValue
from limpet.errors import HookError, UsageError
from limpet.testing.certificates import identity
from limpet.testing.hook import HookConformance
from limpet_hook_healthchecks import HealthchecksHook

from tests.hooks.telling import assert_hidden, told
from tests.services.http_receiver import HttpReceiver
from tests.services.process import free_port

SECRET = "b6a7c1f0-0000-4000-8000-c0ffee000001"
RUN = RunInfo("backup", "rest:https://u:***@host/", [], "vm", run_id="d0c5", started_ns=1_700_000_000 * 10**9)


@pytest.fixture
def receiver() -> HttpReceiver:
    """The server's side."""
    return HttpReceiver()


@pytest.fixture
def server(receiver: HttpReceiver) -> Iterator[str]:
    """The server's address."""
    with receiver.running() as address:
        yield address


@pytest.fixture
def url(server: str) -> str:
    """The address of a check."""
    return f"{server}/ping/{SECRET}"


class TestHealthchecksHookConformance(HookConformance):
    """What every hook must do."""

    hook_class = HealthchecksHook

    @pytest.fixture
    def settings(self, url: str) -> Mapping[str, OptionValue]:
        """A server that listens."""
        return {"url": url}


def run(options: Mapping[str, str], result: RunResult, run: RunInfo = RUN) -> list[str]:
    """One run with the hook; what is warned of."""
    return told("healthchecks", options, result, run=run)


@pytest.mark.parametrize(
    ("options", "code", "signal"),
    [
        ({}, 0, ""),
        ({}, 1, "/1"),
        ({}, 3, "/3"),
        ({}, 130, "/130"),
        ({"exit_code": "no"}, 12, "/fail"),
        ({"exit_code": "no"}, 0, ""),
        ({"incomplete": "success"}, 3, ""),
        ({"incomplete": "success"}, 1, "/1"),
    ],
)
def test_signals(url: str, receiver: HttpReceiver, options: dict[str, str], code: int, signal: str) -> None:
    """A monitor that hears success of what failed shows green until the day of need."""
    assert run({"url": url, **options}, RunResult(code)) == []
    assert [(request.method, request.path) for request in receiver.received] == [
        ("POST", f"/ping/{SECRET}/start"),
        ("POST", f"/ping/{SECRET}{signal}"),
    ]
    assert [request.query for request in receiver.received] == [{"rid": ["d0c5"]}] * 2


def test_body(url: str, receiver: HttpReceiver) -> None:
    """Whoever is woken wants to see what went wrong, not to log in first."""
    log = ["using parent snapshot ab12", "error: open /x: permission denied"]
    result = RunResult(
        1, "no space left", {"files_new": 3, "data_added": 1_500_000}, 1, log, "ab12" * 16, RUN.started_ns + 90 * 10**9
    )
    run({"url": url}, result)
    assert receiver.received[0].text == "limpet backup on vm\nrepository: rest:https://u:***@host/\n"
    assert receiver.received[1].text.splitlines() == [
        "limpet backup on vm: failure (exit code 1)",
        "repository: rest:https://u:***@host/ (id ab12ab12ab)",
        "started: 2023-11-14 22:13:20 UTC, took 90.0 s",
        "error: no space left",
        "warnings: 1",
        "files new: 3",
        "data added: 1.431 MiB",
        "",
        *log,
    ]


def test_long_log(url: str, receiver: HttpReceiver) -> None:
    """The service cuts the end off, where it says what went wrong: the beginning is left out here."""
    log = [f"line {number} ä" for number in range(20_000)]
    run({"url": url}, RunResult(1, "the end", log=log))
    run({"url": url, "log_size": "1K"}, RunResult(1, "the end", log=log))
    for received, most in ((receiver.received[1], 100_000), (receiver.received[3], 1024)):
        lines = received.text.splitlines()
        assert most * 0.8 < len(received.body) <= most
        assert "error: the end" in lines
        assert lines[-1] == log[-1]
        assert "(earlier lines are left out)" in lines


def test_by_slug(server: str, receiver: HttpReceiver, tmp_path: Path) -> None:
    """One key for all checks of a project, which are made with their first ping."""
    key = tmp_path / "key"
    key.write_text("pingkey\n")
    options = {"base": server + "/", "ping_key_file": str(key), "slug": "my backup", "create": "yes"}
    assert run(options, RunResult(0)) == []
    assert [request.path for request in receiver.received] == ["/pingkey/my%20backup/start", "/pingkey/my%20backup"]
    assert receiver.received[0].query == {"rid": ["d0c5"], "create": ["1"]}


def test_where_the_address_comes_from(
    url: str, receiver: HttpReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody on the machine can read a command line, so there are three other ways."""
    file = tmp_path / "url"
    file.write_text(url + "\n")
    monkeypatch.setenv("LIMPET_HOOKS", "healthchecks")
    for name, value in (("URL", url), ("URL_FILE", str(file)), ("URL_COMMAND", f"cat '{file}'")):
        with monkeypatch.context() as context:
            context.setenv(f"LIMPET_HEALTHCHECKS_{name}", value)
            assert run({"start": "no"}, RunResult(0)) == []
    assert len(receiver.received) == 3


def test_only_for_some_commands(url: str, receiver: HttpReceiver) -> None:
    """A listing of snapshots that counts as the night's backup hides that there was none."""
    options = {"url": url, "commands": "backup"}
    run(options, RunResult(0), RunInfo("snapshots", "path:/r"))
    assert receiver.received == []
    run(options, RunResult(0))
    assert len(receiver.received) == 2


def test_tried_again(url: str, receiver: HttpReceiver) -> None:
    """One answer 502 at night must not wake anybody."""
    receiver.answers.extend([(502, b""), (429, b""), (200, b"OK")])
    assert run({"url": url, "start": "no"}, RunResult(0)) == []
    assert len(receiver.received) == 3


def refused() -> str:
    """The address of a check on a server that is not there."""
    return f"http://127.0.0.1:{free_port()}/{SECRET}"


@pytest.mark.parametrize(
    ("answer", "words", "requests"),
    [
        ((404, b""), "it answered 404", 1),
        ((500, b""), "it answered 500", 3),
        ((200, b"OK (not found)"), "it does not know this check", 1),
        ((200, b"OK (rate limited)"), "it was pinged too often", 1),
    ],
)
def test_answers_that_are_no_success(
    url: str, receiver: HttpReceiver, answer: tuple[int, bytes], words: str, requests: int
) -> None:
    """A ping to nowhere has to be told at once: the service cannot know that it is missing."""
    receiver.answers.extend([answer] * 3)
    [warning] = run({"url": url, "start": "no"}, RunResult(0))
    assert warning.startswith(f"hook healthchecks failed at run ended: 127.0.0.1 was not told: {words}")
    assert SECRET not in warning
    assert len(receiver.received) == requests


def test_server_down() -> None:
    """The backup is no worse for it: it is told, and nothing else."""
    warnings = run({"url": refused()}, RunResult(0))
    assert warnings == [
        "hook healthchecks failed at run started: 127.0.0.1 was not told: Connection refused",
        "hook healthchecks failed at run ended: 127.0.0.1 was not told: Connection refused",
    ]


def test_server_down_may_fail_the_run() -> None:
    """Some would rather have no backup than one that nobody watches."""
    with pytest.raises(HookError, match=r"failed at run started: 127\.0\.0\.1 was not told") as caught:
        run({"url": refused(), "on_error": "fail", "tries": "1"}, RunResult(0))
    assert_hidden(SECRET, caught.value)


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_server_that_does_not_end(url: str, receiver: HttpReceiver, how: str) -> None:
    """A monitor that accepts connections and never answers must not hold the backup."""
    setattr(receiver, how, True)
    begin = time.monotonic()
    warnings = run({"url": url, "timeout": "300ms", "tries": "2"}, RunResult(0))
    assert time.monotonic() - begin < 10
    assert len(warnings) == 2
    assert all("no answer" in warning for warning in warnings)


def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, receiver: HttpReceiver) -> None:
    """The address is a secret: it must not be told to somebody who only pretends to be the server."""
    made = identity("healthchecks")
    pem = Path(made.write(tmp_path / "key.pem"))
    with receiver.running(pem) as address:
        options = {"url": f"{address}/{SECRET}", "start": "no", "tries": "1"}
        [warning] = run(options, RunResult(0))
        assert "certificate verify failed" in warning
        assert receiver.received == []
        (tmp_path / "trusted.pem").write_bytes(made.certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
        assert run(options, RunResult(0)) == []
        assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slug": "x"}, "say which check"),
        ({"ping_key": SECRET}, "say which check"),
        ({"url": "http://h/x", "ping_key": SECRET, "slug": "x"}, "say which check"),
        ({"url": f"hc-ping.com/{SECRET}"}, "no address such as"),
        ({"url": f"https://hc-ping.com/{SECRET} x"}, "no address such as"),
        ({"url": f"https://hc-ping.com:port/{SECRET}"}, "no address such as"),
        ({"url": f"https://[x/{SECRET}"}, "no address such as"),
        ({"url": "https://h/x", "url_file": "/x"}, "healthchecks.url and healthchecks.url_file are given, one is eno"),
        ({"url_file": "/does/not/exist"}, "healthchecks.url_file: cannot read /does/not/exist: No such file"),
        ({"url_command": "false"}, "healthchecks.url_command: false ended with exit status 1"),
        ({"url": "https://h/x", "incomplete": "good"}, "'good' is neither fail nor success"),
        ({"url": "https://h/x", "tries": "0"}, "healthchecks.tries must be 1 at least"),
        ({"url": "https://h/x", "timeout": "0"}, "healthchecks.timeout must be 0.1 at least"),
    ],
)
def test_mistakes(options: dict[str, str], words: str) -> None:
    """A wrong setting has to be told before the backup, without the secret."""
    with pytest.raises(UsageError, match=words) as caught:
        run(options, RunResult(0))
    assert SECRET not in str(caught.value)

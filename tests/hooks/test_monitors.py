"""The hooks that tell, together in real runs: what they say of good, failed and interrupted ones, what they hide."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hooks.desk import PASSWORD, Desk, made_desk
from tests.services.http_receiver import HttpReceiver
from tests.services.process import free_port
from tests.services.waiting import wait_for

SECRET = "t0ken-of-the-monitor"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A repository and something to save."""
    return made_desk(tmp_path_factory.mktemp("desk"))


class Monitors:
    """A healthchecks server, a webhook, a Pushgateway and a folder of textfiles, and the variables that name them."""

    def __init__(self, health: str, hook: str, gateway: str, textfiles: Path) -> None:
        self.textfiles = textfiles
        self.environment = {
            "LIMPET_HOOKS": "healthchecks,notify,prometheus",
            "LIMPET_HEALTHCHECKS_URL": f"{health}/{SECRET}",
            "LIMPET_NOTIFY_URLS": hook.replace("http://", f"json://me:{SECRET}@"),
            "LIMPET_NOTIFY_WHEN": "always",
            "LIMPET_PROMETHEUS_PUSH_URL": gateway.replace("http://", f"http://me:{SECRET}@"),
            "LIMPET_PROMETHEUS_TEXTFILE": str(textfiles),
        }
        self.flags = ["-o", "healthchecks.tries=1", "-o", "notify.tries=1", "-o", "prometheus.tries=1"]


@pytest.fixture
def receivers() -> list[HttpReceiver]:
    """The sides of the servers: healthchecks, webhook, Pushgateway."""
    return [HttpReceiver(), HttpReceiver(), HttpReceiver()]


@pytest.fixture
def monitors(receivers: list[HttpReceiver], tmp_path: Path) -> Iterator[Monitors]:
    """All of them, running."""
    health, hook, gateway = receivers
    folder = tmp_path / "textfiles"
    folder.mkdir()
    with health.running() as first, hook.running() as second, gateway.running() as third:
        yield Monitors(first, second, third, folder)


def exit_code_told(monitors: Monitors, receivers: list[HttpReceiver]) -> dict[str, object]:
    """What each of them was told of the end."""
    health, hook, gateway = receivers
    textfile = "".join(path.read_text() for path in monitors.textfiles.iterdir())
    return {
        "healthchecks": [request.path.removeprefix(f"/{SECRET}") for request in health.received],
        "notify": [json.loads(request.body)["title"].partition(": ")[2] for request in hook.received],
        "pushed": [value_of("limpet_last_run_exit_code", request.text) for request in gateway.received],
        "textfile": value_of("limpet_last_run_exit_code", textfile),
    }


def value_of(name: str, text: str) -> float:
    """The value of a metric that is there once."""
    [line] = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.rpartition(" ")[2])


def told(code: int, signal: str, words: str) -> dict[str, object]:
    """What all should be told of an exit code."""
    return {"healthchecks": ["/start", signal], "notify": [words], "pushed": [code], "textfile": code}


def test_a_good_run(desk: Desk, monitors: Monitors, receivers: list[HttpReceiver]) -> None:
    """All is well, in each one's words, with the run's own figures."""
    done = desk.limpet("backup", desk.work, **monitors.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert exit_code_told(monitors, receivers) == told(0, "", "success")
    start, end = receivers[0].received
    assert start.query == end.query
    assert "files new: 1" in end.text
    assert end.text.splitlines()[-1].startswith("snapshot ")
    assert value_of("limpet_files_new", receivers[2].received[0].text) == 1


def test_another_hook_fails(desk: Desk, monitors: Monitors, receivers: list[HttpReceiver]) -> None:
    """The database was not started again after the backup: nobody may be told that all is well."""
    done = desk.limpet("backup", desk.work, "-o", "shell.finally=exit 5", **monitors.environment)
    assert done.returncode == 1
    assert exit_code_told(monitors, receivers) == told(1, "/1", "failure (exit code 1)")
    assert "the command of shell.finally exited with code 5" in receivers[0].received[1].text


def test_interrupted(desk: Desk, monitors: Monitors, receivers: list[HttpReceiver], tmp_path: Path) -> None:
    """A shutdown at night ends the backup; in the morning it has to be seen that there is none."""
    mark = tmp_path / "begun"
    program = ["sh", "-c", f"touch {shlex.quote(str(mark))}; sleep 99"]
    process = desk.start("backup", "--stdin-from-command", "--", *program, **monitors.environment)
    wait_for(mark.exists, "the start of the backup")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert exit_code_told(monitors, receivers) == told(130, "/130", "failure (exit code 130)")


def test_a_wrong_password(desk: Desk, monitors: Monitors, receivers: list[HttpReceiver]) -> None:
    """The run ends before anything was opened, and is told of all the same."""
    done = desk.limpet("backup", desk.work, LIMPET_PASSWORD="wr0ng", **monitors.environment)
    assert done.returncode == 12
    assert exit_code_told(monitors, receivers) == told(12, "/12", "failure (exit code 12)")
    everything = b"".join(request.body for receiver in receivers for request in receiver.received)
    assert b"error: wrong password or no key found" in everything
    assert b"wr0ng" not in everything


def test_all_are_down(desk: Desk, tmp_path: Path) -> None:
    """Not one backup less for it, and each of them is told of on its own."""
    first, second, third = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
    monitors = Monitors(first, second, third, tmp_path / "none")
    snapshots = desk.snapshots()
    done = desk.limpet("backup", desk.work, *monitors.flags, **monitors.environment)
    assert done.returncode == 0, done.stderr
    assert desk.snapshots() == snapshots + 1
    assert sorted(line.partition(":")[0] for line in done.stderr.splitlines()) == [
        "hook healthchecks failed at run ended",
        "hook healthchecks failed at run started",
        "hook notify failed at run ended",
        "hook prometheus failed at run ended",
    ]
    assert SECRET not in done.stdout + done.stderr


def test_nobody_answers(desk: Desk, monitors: Monitors, receivers: list[HttpReceiver]) -> None:
    """Servers that take connections and say nothing hold a run for as long as was agreed, and not for ever."""
    for receiver in receivers:
        receiver.hangs = True
    limits = ["-o", "healthchecks.timeout=300ms", "-o", "notify.timeout=300ms", "-o", "prometheus.timeout=300ms"]
    done = desk.limpet("backup", desk.work, *monitors.flags, *limits, **monitors.environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no answer") >= 3


PEEK = """
import json, os, pathlib, sys
seen = [os.environ.get("LIMPET_RUN_ARGUMENTS", "")]
for folder in pathlib.Path("/proc").iterdir():
    if folder.name.isdigit() and int(folder.name) >= int(sys.argv[1]):
        try:
            seen.append((folder / "cmdline").read_text(errors="replace"))
        except OSError:
            pass
seen += ["%s=%s" % item for item in os.environ.items()]
pathlib.Path(sys.argv[2]).write_text(json.dumps(seen) + sys.stdin.read())
"""


def test_secrets_are_seen_nowhere(
    desk: Desk, monitors: Monitors, receivers: list[HttpReceiver], tmp_path: Path
) -> None:
    """Command lines are everybody's to read, and a hook's command hands its environment to all that it starts."""
    places = [tmp_path / moment for moment in ("before", "source_before", "finally")]
    options: list[str] = []
    for place in places:
        line = shlex.join([sys.executable, "-c", PEEK, "$PPID", str(place)]).replace("'$PPID'", "$PPID")
        options += ["-o", f"shell.{place.name}={line}"]
    store = shlex.join([sys.executable, "-c", f"import os; print(os.environ['THE_STORE']) # {SECRET[:3]}"])
    environment = {
        **monitors.environment,
        "LIMPET_HOOKS": monitors.environment["LIMPET_HOOKS"] + ",keyring",
        "LIMPET_KEYRING_COMMAND": store,
        "THE_STORE": PASSWORD,
        "LIMPET_PASSWORD": "",
    }
    receivers[1].answers.append((403, SECRET.encode()))
    done = desk.limpet("backup", desk.work, "-vv", "--debug", *monitors.flags, *options, **environment)
    assert done.returncode == 0, done.stderr
    assert "hook notify failed" in done.stderr
    seen = [place.read_text() for place in places]
    # The user's own variable, of which nobody can know what is in it, is passed on as it is.
    seen = [text.replace(f"THE_STORE={PASSWORD}", "") for text in seen]
    assert all("limpet.cli.main" in text for text in seen), "the run's own process is among those looked at"
    for text in (*seen, done.stdout, done.stderr):
        assert SECRET not in text
        assert PASSWORD not in text


def test_they_cost_nothing_where_they_are_not_wanted(desk: Desk) -> None:
    """Everybody who has them installed would wait for their libraries in every run."""
    heavy = {"apprise", "keyring", "prometheus_client", "urllib.request"}
    program = (
        "import sys; from limpet.cli.main import main; code = main(sys.argv[1:]);"
        f" print('loaded:', sorted(set(sys.modules) & {heavy!r}), code)"
    )
    for command in (["version"], ["backup", str(desk.work)]):
        done = desk.python(program, *command)
        assert done.stdout.splitlines()[-1] == "loaded: [] 0"

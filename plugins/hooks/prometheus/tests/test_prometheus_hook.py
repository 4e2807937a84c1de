"""The prometheus hook with Prometheus's own Pushgateway and node_exporter: what they tell of the runs."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from limpet.contracts.hooks import RunInfo, RunResult
from limpet.contracts.options import OptionValue
from limpet.errors import HookError, UsageError
from limpet.testing.hook import HookConformance
from limpet_hook_prometheus import PrometheusHook
from limpet_hook_prometheus.textfile import file_name

from tests.hooks.telling import told
from tests.services.http_receiver import HttpReceiver
from tests.services.process import free_port
from tests.services.prometheus_servers import MetricsServer, Samples

START_NS = 1_700_000_000 * 10**9
RUN = RunInfo("backup", 's3:https://host/bucket/ü "x"\\', [], "vm", started_ns=START_NS, profile="home")
LABELS = {"repository": RUN.location, "command": "backup", "host": "vm", "profile": "home"}
FIGURES: dict[str, int | float | str] = {
    "files_new": 3,
    "data_added": 1500,
    "total_bytes_processed": 2**40,
    "total_duration": 4.5,
    "snapshot_id": "ab12",
    "odd-name": 1,
}


def ended(exit_code: int, after_s: int, figures: Mapping[str, int | float | str] | None = None) -> RunResult:
    """A run that ended so many seconds after its start."""
    return RunResult(exit_code, None, figures or {}, warnings=exit_code, ended_ns=START_NS + after_s * 10**9)


def run(options: Mapping[str, str], *results: RunResult, run: RunInfo = RUN) -> list[str]:
    """One run with the hook for each of the results; what is warned of."""
    return told("prometheus", options, *results, run=run)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The collector's."""
    folder = tmp_path / "textfiles"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MetricsServer]:
    """A Pushgateway."""
    server = MetricsServer.pushgateway(tmp_path_factory.mktemp("gateway"))
    yield server
    server.close()


def collected(tmp_path: Path, folder: Path) -> Samples:
    """What node_exporter tells of the folder."""
    server = MetricsServer.node_exporter(tmp_path, folder)
    try:
        samples = server.samples()
    finally:
        server.close()
    assert samples["node_textfile_scrape_error"] == [({}, 0)]
    return samples


class TestPrometheusHookConformance(HookConformance):
    """What every hook must do."""

    hook_class = PrometheusHook

    @pytest.fixture
    def settings(self, folder: Path) -> Mapping[str, OptionValue]:
        """A folder."""
        return {"textfile": str(folder)}


GOOD = {
    "limpet_last_run_timestamp_seconds": 1_700_000_010,
    "limpet_last_success_timestamp_seconds": 1_700_000_010,
    "limpet_last_run_duration_seconds": 10,
    "limpet_last_run_exit_code": 0,
    "limpet_last_run_warnings": 0,
    "limpet_files_new": 3,
    "limpet_data_added_bytes": 1500,
    "limpet_processed_bytes": 2**40,
    "limpet_backup_duration_seconds": 4.5,
    "limpet_odd_name": 1,
}
FAILED_AFTERWARDS = {
    **GOOD,
    "limpet_last_run_timestamp_seconds": 1_700_000_500,
    "limpet_last_run_duration_seconds": 500,
    "limpet_last_run_exit_code": 1,
    "limpet_last_run_warnings": 1,
}


def of_limpet(samples: Samples) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The samples that are ours."""
    return {name: values for name, values in samples.items() if name.startswith("limpet_")}


def test_textfile(tmp_path: Path, folder: Path) -> None:
    """An alert on the time of the last success has to go on counting when runs fail."""
    run({"textfile": str(folder)}, ended(0, 10, FIGURES))
    assert of_limpet(collected(tmp_path, folder)) == {name: [(LABELS, value)] for name, value in GOOD.items()}
    run({"textfile": str(folder)}, ended(1, 500))
    after = of_limpet(collected(tmp_path, folder))
    assert after == {name: [(LABELS, value)] for name, value in FAILED_AFTERWARDS.items()}


def test_pushed(gateway: MetricsServer) -> None:
    """The same where no Prometheus comes to ask."""
    expected = {**LABELS, "job": "nightly", "instance": ""}
    for result, values in ((ended(0, 10, FIGURES), GOOD), (ended(1, 500), FAILED_AFTERWARDS)):
        assert run({"push_url": gateway.address + "/", "job": "nightly"}, result) == []
        assert of_limpet(gateway.samples()) == {name: [(expected, value)] for name, value in values.items()}


def test_series_are_kept_apart(tmp_path: Path, folder: Path) -> None:
    """A check that went well must not make the backup that failed look good."""
    options = {"textfile": str(folder)}
    others = [RunInfo("check", RUN.location, [], "vm"), RunInfo("backup", "path:/r", [], "vm"), RunInfo("key add", "")]
    run(options, ended(1, 500))
    for other in others:
        run(options, ended(0, 10), run=other)
    codes = collected(tmp_path, folder)["limpet_last_run_exit_code"]
    assert len(codes) == 4
    assert (LABELS, 1) in codes
    assert ({"command": "check", "repository": RUN.location, "host": "vm"}, 0) in codes


def test_first_run_fails(tmp_path: Path, folder: Path) -> None:
    """A success that never was must not be made up."""
    run({"textfile": str(folder)}, ended(1, 500))
    assert "limpet_last_success_timestamp_seconds" not in collected(tmp_path, folder)


def test_other_users_can_read_it(folder: Path) -> None:
    """The collector is another user; the umask of a root's backup is often 077. Nothing else lies about."""
    run({"textfile": str(folder)}, ended(0, 10))
    [path] = folder.iterdir()
    assert path.name == file_name(RUN)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_damaged_file(tmp_path: Path, folder: Path) -> None:
    """The time of the last success is lost, which has to be told; the new metrics are there all the same."""
    for damage in (b"limpet_x{ 1\n", b"\xff\xfe", b"x" * 100):
        (folder / file_name(RUN)).write_bytes(damage)
        [warning] = run({"textfile": str(folder)}, ended(0, 10))
        assert "is written anew: what was in it could not be read" in warning
    assert "limpet_last_success_timestamp_seconds" in collected(tmp_path, folder)


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    """Metrics that are missing do not make a backup bad; they are told."""
    place = tmp_path / "none"
    [warning] = run({"textfile": str(place)}, ended(0, 10))
    assert (
        warning
        == f"hook prometheus failed at run ended: cannot write {place / file_name(RUN)}: No such file or directory"
    )
    with pytest.raises(HookError):
        run({"textfile": str(place), "on_error": "fail"}, ended(0, 10))


def test_both(folder: Path) -> None:
    """A gateway that is down does not keep the file from being written."""
    options = {"textfile": str(folder), "push_url": f"http://127.0.0.1:{free_port()}", "tries": "1"}
    [warning] = run(options, ended(0, 10))
    assert warning == "hook prometheus failed at run ended: 127.0.0.1 was not told: Connection refused"
    assert len(list(folder.iterdir())) == 1


def test_password_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes where it belongs and is shown nowhere."""
    receiver = HttpReceiver()
    with receiver.running() as address:
        url = address.replace("http://", "http://me:s3%2Fcret@")
        monkeypatch.setenv("LIMPET_PROMETHEUS_PUSH_URL", url)
        assert run({"job": "x"}, ended(0, 10)) == []
        receiver.answers.append((401, b""))
        [warning] = run({"job": "x"}, ended(0, 10))
    assert receiver.received[0].headers["Authorization"] == "Basic bWU6czMvY3JldA=="
    assert warning == "hook prometheus failed at run ended: 127.0.0.1 was not told: it answered 401 Unauthorized"


def test_gateway_that_hangs() -> None:
    """Metrics are not worth a night of waiting."""
    receiver = HttpReceiver()
    receiver.hangs = True
    with receiver.running() as address:
        begin = time.monotonic()
        [warning] = run({"push_url": address, "timeout": "300ms", "tries": "2"}, ended(0, 10))
    assert time.monotonic() - begin < 10
    assert "no answer" in warning
    assert len(receiver.received) == 2


def test_only_for_some_commands(folder: Path) -> None:
    """Nobody wants a series for each listing of snapshots."""
    run({"textfile": str(folder), "commands": "check"}, ended(0, 10))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"job": "x"}, "say where metrics go"),
        ({"push_url": "gateway:9091/s3cret"}, "no address such as"),
        ({"push_url": "http://[gateway/s3cret"}, "no address such as"),
        ({"push_url": "http://g", "push_url_file": "/x"}, "are given, one is enough"),
        ({"push_url": "http://g", "job": ""}, "a job without a name"),
        ({"push_url": "http://g", "tries": "0"}, "prometheus.tries must be 1 at least"),
    ],
)
def test_mistakes(options: dict[str, str], words: str) -> None:
    """A wrong setting has to be told before the backup, without the secret."""
    with pytest.raises(UsageError, match=words) as caught:
        run(options, RunResult(0))
    assert "s3cret" not in str(caught.value)

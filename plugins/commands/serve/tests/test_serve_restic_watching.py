"""What a server tells of itself: metrics as rest-server's, the audit log of a backup, its health."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.serve.cases import login
from tests.serve.wire import ask
from tests.services.rest_server import LimpetServer, RestServer
from tests.services.waiting import wait_for

PASSWORD = "of the repository"
USERS = {"ann": "of-ann", "metrics": "of-metrics"}
REPOSITORY = "ann/laptop"

pytestmark = pytest.mark.interop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is backed up."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(range(256)) * 8000)
    return folder


@pytest.fixture
def limpet(tmp_path: Path) -> Iterator[LimpetServer]:
    """Our server, which tells all it can."""
    folder = tmp_path / "limpet"
    flags = ("--private-repos", "--prometheus", "--audit-log", str(tmp_path / "audit.log"), "--verify")
    server = LimpetServer(folder, *flags, users=USERS)
    yield server
    server.close()


def counted(server: RestServer) -> dict[str, int]:
    """How many files of which kind were written, read and deleted, by rest-server's metrics."""
    answer = ask(server, "GET", "/metrics", [login("metrics", USERS["metrics"])])
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4; charset=utf-8")
    found = re.findall(r"^(rest_server_blob_\w+_total)\{([^}]*)\} (\S+)$", answer.body.decode(), re.MULTILINE)
    # The order of labels means nothing, and sizes differ by the random content of keys.
    numbers = {f"{name} {sorted(labels.split(','))}": int(float(value)) for name, labels, value in found}
    return {name: number for name, number in numbers.items() if "bytes" not in name}


def test_the_same_backup_counts_as_with_rest_server(
    restic_new: Restic, limpet: LimpetServer, folder: Path, tmp_path: Path
) -> None:
    """Dashboards made for rest-server must show the same for the same work."""
    reference = RestServer(tmp_path / "reference", "--private-repos", "--prometheus", users=USERS)
    try:
        for server in (reference, limpet):
            location = f"rest:{server.url(REPOSITORY, 'ann:of-ann')}"
            for words in (["init"], ["backup", str(folder)], ["forget", "latest", "--prune"]):
                restic_new.run(*words, repo=location, password=PASSWORD)
        assert counted(limpet) == counted(reference)
        assert any('type="data"' in name for name in counted(limpet))
    finally:
        reference.close()
    assert ask(limpet, "GET", "/metrics", [login("ann", "of-ann")]).status == 401
    assert ask(limpet, "GET", "/metrics").status == 401


def test_the_audit_log_of_a_backup(restic_new: Restic, limpet: LimpetServer, folder: Path, tmp_path: Path) -> None:
    """Every file that is there was told of, with its size and who brought it; no secret is; a rotated log goes on."""
    location = f"rest:{limpet.url(REPOSITORY, 'ann:of-ann')}"
    restic_new.run("init", repo=location, password=PASSWORD)
    restic_new.run("backup", folder, repo=location, password=PASSWORD)
    assert ask(limpet, "GET", f"/{REPOSITORY}/config", [login("ann", "guessed-wrong")]).status == 401
    log, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    log.rename(old)
    limpet.process.send_signal(signal.SIGHUP)
    wait_for(log.exists, "the opening of a new log")
    ask(limpet, "GET", f"/{REPOSITORY}/no/such/place", [login("ann", "of-ann")])
    limpet.close()
    lines = [json.loads(line) for line in old.read_text().splitlines()]
    stored = {
        (line["kind"], line["id"]): line["bytes_received"]
        for line in lines
        if line["method"] == "POST" and line["status"] == 200 and line["kind"] not in {"repository", "locks"}
    }
    root = limpet.data / REPOSITORY
    assert stored == {
        (path.relative_to(root).parts[0], path.name if path.name != "config" else ""): path.stat().st_size
        for path in root.rglob("*")
        if path.is_file()
    }
    assert {line["user"] for line in lines if line["status"] == 200} == {"ann"}
    assert {line["client"] for line in lines} == {"127.0.0.1"}
    assert lines[-1]["status"] == 401
    assert [json.loads(line)["status"] for line in log.read_text().splitlines()] == [404]
    told = old.read_text() + log.read_text() + limpet.log.read_text()
    assert not [secret for secret in ("of-ann", "guessed-wrong", PASSWORD, "Basic") if secret in told]


def test_health(limpet: LimpetServer, tmp_path: Path) -> None:
    """A balancer or monitor needs no password, and hears when nothing can be stored."""
    answer = ask(limpet, "GET", "/healthz")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
    limpet.data.rename(tmp_path / "elsewhere")

    def is_down() -> bool:
        return ask(limpet, "GET", "/healthz").status == 503

    wait_for(is_down, "an answer that says so")
    assert b"data directory" in ask(limpet, "GET", "/healthz").body

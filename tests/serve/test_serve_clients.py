"""Real clients on `limpet serve`: restic 0.14, restic 0.19 and Limpet live with it as they do with rest-server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from limpet.cli.main import main
from limpet.testing.certificates import identity
from limpet.testing.restic import Restic

from tests.serve.cases import DATA, ID, KINDS, OTHER, USERS, login
from tests.serve.differences import UNREAD
from tests.serve.wire import Answer, ask
from tests.services.rest_server import LimpetServer, RestServer, certificate_bundle

PASSWORD = "of the repository"
REPOSITORY = "ann/laptop"
LOGIN = f"ann:{quote(USERS['ann'], safe='')}"

pytestmark = pytest.mark.interop

Run = Callable[..., int]


@dataclass(frozen=True, slots=True)
class Way:
    """How clients reach a server: the repository's location, and what they have to be told."""

    location: str
    options: tuple[str, ...] = ()


@pytest.fixture
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    """A new server and the way to it."""
    folder = tmp_path / "server"
    folder.mkdir()
    if request.param == "tls":
        own = identity("server")
        server = LimpetServer(folder, "--private-repos", users=USERS, identity=own)
        options: tuple[str, ...] = ("--cacert", certificate_bundle(folder, own))
        found = Way(f"rest:{server.url(REPOSITORY, LOGIN)}", options)
    else:
        server = LimpetServer(folder, on_socket=request.param == "socket")
        found = Way(f"rest:{server.url(REPOSITORY)}")
    yield found
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is backed up."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "small").write_bytes(b"a small file")
    (folder / "large").write_bytes(bytes(range(256)) * 20_000)
    return folder


@pytest.fixture
def limpet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limpet's commands in this process know the password."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)


def story(run: Run, folder: Path, restored: Path) -> None:
    """The whole life of a repository by one client; AssertionError where a step fails, or files do not come back."""
    assert run("init") == 0
    assert run("backup", folder) == 0
    (folder / "new").write_bytes(b"new since then")
    (folder / "large").write_bytes(b"changed")
    assert run("backup", folder) == 0
    assert run("forget", "--keep-last", "1") == 0
    assert run("prune", "--max-unused", "0") == 0
    assert run("check", "--read-data") == 0
    assert run("restore", "latest", "--target", restored) == 0
    back = restored / folder.relative_to("/")
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


@pytest.mark.parametrize("way", ["plain"], indirect=True)
def test_restic_014(way: Way, restic_old: Restic, folder: Path, tmp_path: Path) -> None:
    """Debian's restic is what many machines will send their backups with for years."""
    story(runner(restic_old, way), folder, tmp_path / "restored")


@pytest.mark.parametrize("way", ["tls", "socket"], indirect=True)
def test_restic_019(way: Way, restic_new: Restic, folder: Path, tmp_path: Path) -> None:
    """The newest restic, by the ways that the old one does not know too."""
    story(runner(restic_new, way), folder, tmp_path / "restored")


@pytest.mark.parametrize("way", ["tls", "socket"], indirect=True)
@pytest.mark.usefixtures("limpet")
def test_limpet(way: Way, folder: Path, tmp_path: Path) -> None:
    """Limpet's own client."""
    story(lambda *words: limpet_run(way, *words), folder, tmp_path / "restored")


@pytest.mark.usefixtures("limpet")
def test_append_only(restic_new: Restic, folder: Path, tmp_path: Path) -> None:
    """Whoever takes over a machine must not be able to remove its backups, by whichever client; backups go on."""
    server = LimpetServer(tmp_path / "server", "--append-only")
    try:
        way = Way(f"rest:{server.url('laptop')}")
        restic = runner(restic_new, way)
        assert limpet_run(way, "init") == 0
        assert limpet_run(way, "backup", folder) == 0
        assert restic("backup", folder) == 0
        stored = stored_files(server)
        assert limpet_run(way, "forget", "--keep-last", "1", "--prune") != 0
        assert restic("forget", "--keep-last", "1") != 0
        assert restic("check", "--read-data") == 0
        assert stored_files(server) == stored
    finally:
        server.close()


def test_other_users_repositories_are_closed(restic_new: Restic, tmp_path: Path) -> None:
    """On a server for several people nobody sees what the others have, not even whether they have anything."""
    server = LimpetServer(tmp_path, "--private-repos", users=USERS)
    try:
        (server.data / "bob" / "laptop").mkdir(parents=True)
        for name in ("bob/laptop", "bob/nothing", "nobody/laptop"):
            run = restic_new.run("cat", "config", repo=f"rest:{server.url(name, LOGIN)}", password="x", check=False)
            assert run.returncode != 0
            assert b"401" in run.stderr
    finally:
        server.close()


def test_metrics(restic_new: Restic, folder: Path, tmp_path: Path) -> None:
    """People's dashboards and alerts ask for rest-server's names and labels, and expect its numbers."""
    counted, named = [], []
    for server_class in (RestServer, LimpetServer):
        server = server_class(tmp_path / server_class.name, "--prometheus", "--private-repos", users=USERS)
        try:
            use(server)
            counted.append(metrics_of(server, "bob"))
            run = runner(restic_new, Way(f"rest:{server.url(REPOSITORY, LOGIN)}"))
            assert [run("init"), run("backup", folder), run("forget", "latest", "--prune")] == [0, 0, 0]
            named.append([line.rpartition(" ")[0] for line in metrics_of(server, "ann")])
        finally:
            server.close()
    assert counted[0]
    assert counted[0] == counted[1]
    assert named[0] == named[1]


@pytest.mark.parametrize(
    ("header", "status"), [(("Range", "bytes=999-"), 416), (("If-Match", "x"), 412), (("If-None-Match", "*"), 304)]
)
def test_metrics_of_what_was_not_read(tmp_path: Path, header: tuple[str, str], status: int) -> None:
    """An alert on reads of a write-only machine must not ring for a range that was refused; see the documentation."""
    read = []
    for server_class in (RestServer, LimpetServer):
        server = server_class(tmp_path / server_class.name, "--prometheus")
        try:
            assert ask(server, "POST", "/r/?create=true").status == 200
            assert ask(server, "POST", f"/r/data/{ID}", [], DATA).status == 200
            assert ask(server, "GET", f"/r/data/{ID}", [header]).status == status
            metrics = ask(server, "GET", "/metrics").body.decode()
            found = re.search(r"^rest_server_blob_read_total{.*} (\d+)", metrics, re.MULTILINE)
            read.append(f"{found[1] if found else 0} read")
        finally:
            server.close()
    assert tuple(read) == UNREAD.seen


def use(server: RestServer) -> None:
    """Write, read and remove files of every kind as one user."""
    bob = [login("bob", USERS["bob"])]
    assert ask(server, "POST", "/bob/r/?create=true", bob).status == 200
    for kind in KINDS:
        file = f"/bob/r/{kind}/{ID}"
        answers: list[Answer] = [
            ask(server, "POST", "/bob/r/config", bob, b"the config"),
            ask(server, "GET", "/bob/r/config", bob),
            ask(server, "POST", file, bob, OTHER),
            ask(server, "POST", file, bob, DATA),
            ask(server, "GET", file, bob),
            ask(server, "GET", file, [*bob, ("Range", "bytes=2-5")]),
            ask(server, "HEAD", file, bob),
            ask(server, "GET", file.replace(ID, "0" * 64), bob),
            ask(server, "DELETE", file.replace(ID, "0" * 64), bob),
        ]
        assert {answer.status for answer in answers[2:]} == {400, 200, 206, 404}
    assert ask(server, "DELETE", f"/bob/r/locks/{ID}", bob).status == 200
    assert ask(server, "DELETE", "/bob/r/config", bob).status == 200


def metrics_of(server: RestServer, user: str) -> list[str]:
    """The counters of the user, with what is said about their names."""
    answer = ask(server, "GET", "/metrics", [login("metrics", USERS["metrics"])])
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.body.decode().splitlines() if "rest_server_" in line]
    wanted = [line for line in lines if line.startswith("#") or f'user="{user}"' in line]
    return sorted(re.sub(r"{(.*)}", lambda labels: ",".join(sorted(labels[1].split(","))), line) for line in wanted)


def test_access_log(tmp_path: Path) -> None:
    """Programs that read logs, fail2ban among them, know rest-server's lines."""
    lines = []
    for server_class in (RestServer, LimpetServer):
        folder = tmp_path / server_class.name
        folder.mkdir()
        server = server_class(folder, "--log", str(folder / "access.log"), users=USERS)
        try:
            ann, agent = login("ann", USERS["ann"]), ("User-Agent", 'an "agent"\\')
            ask(server, "POST", "/r/?create=true", [ann])
            ask(server, "POST", f"/r/data/{ID}", [ann, agent], DATA)
            ask(server, "GET", f"/r/data/{ID}?x=%0a%22", [ann, ("Referer", "http://x/")])
            ask(server, "HEAD", "/r/config", [ann])
            ask(server, "GET", "/r/config", [login("ann", "wrong")])
        finally:
            server.close()
        text = (folder / "access.log").read_text()
        text = re.sub(r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", "[time]", text)
        lines.append(re.sub(r'" (4\d\d) \d+ "', r'" \1 size "', text).splitlines())  # words of errors differ
    assert len(lines[0]) == 5
    # Ours says who it was, where that was found to be true.
    assert lines[0] == [line.replace("127.0.0.1 - ann ", "127.0.0.1 - - ") for line in lines[1]]
    assert [line.split()[2] for line in lines[1]] == ["ann"] * 4 + ["-"]


def runner(restic: Restic, way: Way) -> Run:
    """Runs a command of this restic; its exit code."""

    def run(*words: str | Path) -> int:
        done = restic.run(*way.options, *words, repo=way.location, password=PASSWORD, check=False)
        print((done.stdout + done.stderr).decode(errors="replace"))
        return done.returncode

    return run


def limpet_run(way: Way, *words: str | Path) -> int:
    """The exit code of Limpet with this command."""
    return main(["--no-cache", *way.options, "-r", way.location, *map(str, words)])


def stored_files(server: RestServer) -> set[str]:
    """The server's files, locks left out."""
    return {path.name for path in server.data.rglob("*") if path.is_file() and path.parent.name != "locks"}

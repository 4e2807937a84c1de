"""Rights, with real clients: who may only write backs up and reads nothing back, who may only read restores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from limpet.cli.main import main
from limpet.cli.session import Session
from limpet.testing.restic import Restic
from limpet_command_serve.user_commands import user_group

from tests.serve.cases import login
from tests.serve.wire import ask
from tests.services.rest_server import LimpetServer

PASSWORD = "of the repository"
LOGIN = "of-the-user"

pytestmark = pytest.mark.interop

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimpetServer]:
    """A server that has one user at its start; the others come while it runs."""
    folder = tmp_path_factory.mktemp("server")
    server = LimpetServer(folder, users={"admin": LOGIN})
    for name, right in (("writer", "--write-only"), ("reader", "--read-only")):
        words = ["add", name, right, "--htpasswd-file", str(folder / "htpasswd")]
        done = CliRunner().invoke(user_group, words, input=f"{LOGIN}\n", obj=Session(), catch_exceptions=False)
        assert done.exit_code == 0, done.output
    yield server
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is backed up."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(range(256)) * 8000)
    return folder


@pytest.fixture(params=["restic_old", "restic_new", "limpet"])
def client(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """One of the clients: takes the location and the words, gives the exit code and all that was said."""
    if request.param != "limpet":
        restic: Restic = request.getfixturevalue(request.param)

        def run_restic(location: str, *words: str | Path) -> tuple[int, str]:
            done = restic.run(*words, repo=location, password=PASSWORD, check=False)
            return done.returncode, (done.stdout + done.stderr).decode()

        return run_restic
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)

    def run_limpet(location: str, *words: str | Path) -> tuple[int, str]:
        code = main(["--no-cache", "-r", location, *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run_limpet


def location(server: LimpetServer, repository: str, user: str) -> str:
    """Where the repository is for this user."""
    return f"rest:{server.url(repository, f'{user}:{LOGIN}')}"


def packs(server: LimpetServer, repository: str) -> dict[str, int]:
    """The size of each pack."""
    return {path.name: path.stat().st_size for path in (server.data / repository / "data").rglob("*") if path.is_file()}


def test_write_only_users_back_up_and_read_nothing_back(
    server: LimpetServer, client: Run, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A machine that is taken over must give away nothing, and its backups of every night must work all the same."""
    repository = request.node.callspec.params["client"]
    as_writer, as_admin = (location(server, repository, user) for user in ("writer", "admin"))

    def success(place: str, *words: str | Path) -> str:
        code, said = client(place, *words)
        assert code == 0, said
        return said

    success(as_writer, "init")
    success(as_writer, "backup", folder)
    first = packs(server, repository)
    success(as_writer, "backup", folder)
    added = packs(server, repository).keys() - first
    assert all(packs(server, repository)[name] < 100_000 for name in added), "what is stored already is not sent again"
    assert "ID" not in success(as_writer, "snapshots")
    code, said = client(as_writer, "restore", "latest", "--target", tmp_path / "stolen")
    assert code != 0
    assert "no snapshot found" in said
    assert not (tmp_path / "stolen" / folder.relative_to("/")).exists()
    for kind, name in [("data", next(iter(first))), ("snapshots", "ab" * 32)]:
        for method in ("GET", "DELETE"):
            answer = ask(server, method, f"/{repository}/{kind}/{name}", [login("writer", LOGIN)])
            assert answer.status == 403
    success(as_admin, "check", "--read-data")
    success(as_admin, "restore", "latest", "--target", tmp_path / "restored")
    back = tmp_path / "restored" / folder.relative_to("/") / "file"
    assert back.read_bytes() == (folder / "file").read_bytes()
    assert len(list((server.data / repository / "snapshots").iterdir())) == 2


def test_read_only_users_restore_and_change_nothing(
    server: LimpetServer, restic_new: Restic, folder: Path, tmp_path: Path
) -> None:
    """Who looks into backups to restore from them has no way to harm them."""
    as_reader, as_admin = (location(server, "shared", user) for user in ("reader", "admin"))
    restic_new.run("init", repo=as_admin, password=PASSWORD)
    restic_new.run("backup", folder, repo=as_admin, password=PASSWORD)
    restic_new.run("restore", "latest", "--target", tmp_path / "restored", repo=as_reader, password=PASSWORD)
    assert (tmp_path / "restored" / folder.relative_to("/") / "file").exists()
    (folder / "new").write_bytes(b"new")
    done = restic_new.run("backup", folder, repo=as_reader, password=PASSWORD, check=False)
    assert done.returncode != 0
    assert b"access is read-only" in done.stderr
    assert restic_new.run("forget", "latest", repo=as_reader, password=PASSWORD, check=False).returncode != 0
    assert len(list((server.data / "shared" / "snapshots").iterdir())) == 1
    assert list((server.data / "shared" / "locks").iterdir()) == []

"""The policies of a running server, request by request: limits that come while it runs, guesses, proxies, verify."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from limpet.cli.session import Session
from limpet.contracts.guesses import FREE_GUESSES
from limpet_command_serve.exchange import Refusal
from limpet_command_serve.lock_bounds import MOST_LOCK_BYTES, MOST_LOCKS, LockBounds
from limpet_command_serve.user_commands import user_group

from tests.serve.cases import login
from tests.serve.wire import Answer, ask, chunked
from tests.services.process import ServerProcess
from tests.services.rest_server import LimpetServer
from tests.services.waiting import wait_for

MIB = 1 << 20
ADMIN = login("admin", "of-admin")

Start = Callable[..., LimpetServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with these options, which ends with the test."""
    servers = []

    def started(*flags: str, users: bool = False) -> LimpetServer:
        servers.append(LimpetServer(tmp_path / "server", *flags, users={"admin": "of-admin"} if users else None))
        return servers[-1]

    yield started
    for server in servers:
        server.close()


def manage(server: LimpetServer, *words: str) -> None:
    """`limpet serve user` beside the running server; a new user's password is `of-NAME`."""
    words = (*words, "--htpasswd-file", str(server.data.parent / "htpasswd"))
    done = CliRunner().invoke(user_group, words, input=f"of-{words[1]}\n", obj=Session(), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def upload(
    server: LimpetServer,
    repository: str,
    content: bytes,
    *headers: tuple[str, str],
    chunks: bool = False,
    kind: str = "data",
) -> Answer:
    """One file is sent, a pack if nothing else is said."""
    target = f"/{repository}/{kind}/{hashlib.sha256(content).hexdigest()}"
    if not chunks:
        return ask(server, "POST", target, headers, content)
    parts = [content[start : start + 100_000] for start in range(0, len(content), 100_000)]
    return ask(server, "POST", target, [*headers, ("Transfer-Encoding", "chunked")], chunked(*parts))


def files(server: LimpetServer) -> list[Path]:
    """All that is stored or half stored."""
    return [path for path in server.data.rglob("*") if path.is_file()]


@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunks"])
def test_the_size_of_all_repositories_is_limited(start: Start, chunks: bool) -> None:
    """What fits comes in to the last byte; what does not is refused with the reason and leaves nothing behind."""
    server = start("--max-size", "3M")
    assert upload(server, "one", b"1" * (2 * MIB), chunks=chunks).status == 200
    refused = upload(server, "two", b"2" * (MIB + 1), chunks=chunks)
    assert refused.status == 507
    assert b"the server's quota of 3145728 bytes" in refused.body
    assert [path.stat().st_size for path in files(server)] == [2 * MIB]
    assert upload(server, "two", b"3" * MIB, chunks=chunks).status == 200
    assert upload(server, "two", b"3" * MIB, chunks=chunks).status in {200, 507}, "nothing new is stored"
    for path in files(server):
        if path.stat().st_size == 2 * MIB:
            assert ask(server, "DELETE", f"/one/data/{path.name}").status == 200
    assert upload(server, "two", b"4" * MIB, chunks=chunks).status == 200


def test_uploads_side_by_side_stay_below_the_limit(start: Start) -> None:
    """Eight connections of one client, each with a pack that alone would fit."""
    server = start("--repo-quota", "5M")
    together = threading.Barrier(8)

    def send(number: int) -> int:
        together.wait()
        return upload(server, "repository", bytes([number]) * (2 * MIB)).status

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(send, range(8)))
    assert statuses == [200] * 2 + [507] * 6
    assert len(files(server)) == 2


@pytest.mark.parametrize("access", ["--read-only", "--append-only", "--write-only"])
def test_locks_are_no_room_for_anything(start: Start, access: str) -> None:
    """Who may not write may write locks: as large as he likes, and any number, would be writing."""
    server = start("--repo-quota", "1M", users=True)
    manage(server, "add", "web", access)
    web = login("web", "of-web")
    (server.data / "r").mkdir()
    (server.data / "r" / "config").touch()
    for chunks in (False, True):
        large = os.urandom(MOST_LOCK_BYTES + 1)
        refused = upload(server, "r", large, web, chunks=chunks, kind="locks")
        assert (refused.status, b"at most 65536 bytes" in refused.body) == (403, True)
    assert files(server) == [server.data / "r" / "config"]
    locks = server.data / "r" / "locks"
    assert upload(server, "r", bytes(MOST_LOCK_BYTES), web, kind="locks").status == 200
    for number in range(MOST_LOCKS - 2):
        (locks / f"{number:064x}").touch()
    statuses = [upload(server, "r", b"%d" % number, web, kind="locks").status for number in range(2)]
    assert statuses == [200, 403]
    assert len(files(server)) == MOST_LOCKS + 1
    assert ask(server, "DELETE", f"/r/locks/{0:064x}", [web]).status == 200
    assert upload(server, "r", b"another", web, kind="locks").status == 200
    assert upload(server, "r", bytes(MOST_LOCK_BYTES + 1), ADMIN, kind="locks").status == 200, "he may write anyway"
    assert upload(server, "r", bytes(2 * MIB), ADMIN, kind="locks").status == 507, "locks count as all does"


def test_who_may_create_nothing_locks_what_there_is(start: Start) -> None:
    """A thousand locks in each of as many repositories as he can think of: that, too, would be room for anything."""
    server = start(users=True)
    manage(server, "add", "web", "--read-only")
    web = login("web", "of-web")
    assert upload(server, "r", b"lock", web, kind="locks").status == 404
    assert not list(server.data.iterdir())
    assert ask(server, "POST", "/r/config", [ADMIN], b"config").status == 200
    assert upload(server, "r", b"lock", web, kind="locks").status == 200


def test_locks_at_once_stay_below_their_number() -> None:
    """A hundred connections that each find room for one more lock must not have it together."""
    stored = MOST_LOCKS - 3
    bounds = LockBounds(lambda _: stored, lambda _: True)
    with ExitStack() as coming:
        for _ in range(3):
            coming.enter_context(bounds.begin(("r",), None, may_create=True))
        with pytest.raises(Refusal, match="unlock"), bounds.begin(("r",), None, may_create=True):
            pass
        with bounds.begin(("other",), None, may_create=True):
            pass
    with bounds.begin(("r",), None, may_create=True):
        pass


def test_limits_that_come_while_it_runs(start: Start) -> None:
    """A user who is added, limited or removed is so with the next request, and what he has already counts."""
    server = start(users=True)
    web = login("web", "of-web")
    assert ask(server, "HEAD", "/web/config", [web]).status == 401
    manage(server, "add", "web")
    assert upload(server, "web", b"1" * MIB, web).status == 200
    assert upload(server, "other", b"1" * MIB, web).status == 200
    manage(server, "change", "web", "--quota", "2M")
    assert upload(server, "web/second", b"2" * MIB, web).status == 200
    refused = upload(server, "web", b"3" * 1000, web)
    assert (refused.status, b"user's quota of 2097152 bytes" in refused.body) == (507, True)
    assert upload(server, "other", b"3" * 1000, web).status == 401, "with a quota the folder of his name is his"
    assert upload(server, "web", b"3" * 1000, ADMIN).status == 200, "it is his quota, not another's"
    manage(server, "change", "web", "--no-quota", "--write-only")
    name = hashlib.sha256(b"1" * MIB).hexdigest()
    assert ask(server, "GET", f"/web/data/{name}", [web]).status == 403
    assert ask(server, "GET", "/web/snapshots/", [web]).body == b"[]"
    assert ask(server, "DELETE", f"/web/data/{name}", [web]).status == 403
    manage(server, "remove", "web")
    assert ask(server, "HEAD", "/web/config", [web]).status == 401


def test_guessing_ends_and_disturbs_nobody(start: Start) -> None:
    """Brute force is told to wait; who knows the password comes in at the same time from the same address."""
    server = start(users=True)
    assert ask(server, "HEAD", "/x/config", [ADMIN]).status == 404
    guesses = [ask(server, "HEAD", "/x/config", [login("admin", f"guess{n}")]) for n in range(FREE_GUESSES + 2)]
    assert [answer.status for answer in guesses] == [401] * FREE_GUESSES + [429] * 2
    assert 1 <= int(guesses[-1].headers["retry-after"]) <= 10
    assert guesses[0].headers["www-authenticate"].startswith("Basic ")
    assert ask(server, "HEAD", "/x/config", [ADMIN]).status == 404
    assert "guess1" not in server.log.read_text()


def test_clients_behind_a_socket_are_told_apart(tmp_path: Path) -> None:
    """A proxy on a unix socket brings all clients: one who guesses must not shut out the others with him."""
    server = LimpetServer(tmp_path / "server", users={"admin": "of-admin"}, on_socket=True)
    try:

        def guess(*forwarded: str) -> int:
            lines = [("X-Forwarded-For", line) for line in forwarded]
            return ask(server, "HEAD", "/x/config", [login("admin", "wrong"), *lines]).status

        # What the client says of itself comes first, in the proxy's line or in one before it: it changes nothing.
        assert [guess(f"10.0.0.{n}, 192.0.2.1") for n in range(FREE_GUESSES + 1)] == [401] * FREE_GUESSES + [429]
        assert guess("10.0.1.1", "192.0.2.1") == 429
        assert guess("192.0.2.2") == 401
    finally:
        server.close()


def test_lost_rights_are_missed(tmp_path: Path) -> None:
    """Rights that were lost with a disk must not make a write-only user a full one with the next start."""
    server = LimpetServer(tmp_path, users={"admin": "of-admin"})
    assert "all users have full rights" in server.log.read_text()
    manage(server, "add", "web")
    assert not (tmp_path / "htpasswd.rights.json").exists()
    manage(server, "change", "web", "--write-only")
    server.close()
    lines = (tmp_path / "htpasswd").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["# rights", "admin", "web"]
    (tmp_path / "htpasswd.rights.json").unlink()
    words = [*LimpetServer.program(), "--path", server.data, "--listen", "127.0.0.1:0"]
    with ServerProcess([*words, "--htpasswd-file", tmp_path / "htpasswd"], tmp_path / "log") as process:
        assert process.process.wait(60) == 1
    said = (tmp_path / "log").read_text()
    assert f"Fatal: {tmp_path / 'htpasswd.rights.json'} is missing" in said
    assert "Traceback" not in said
    for asked in (["change", "web", "--full"], ["list"]):
        done = CliRunner().invoke(user_group, [*asked, "--htpasswd-file", str(tmp_path / "htpasswd")], obj=Session())
        assert "is missing" in str(done.exception), "and not written anew, without the others' rights"


def test_nonsense_is_nobody(start: Start) -> None:
    """Whatever comes in place of a password lets nobody in and breaks nothing."""
    server = start(users=True)
    for header in ("", "Basic", "Basic !!", "Bearer abc", "Basic YWRtaW4=", "Digest username=admin"):
        assert ask(server, "GET", "/x/config", [("Authorization", header)]).status == 401
        assert ask(server, "GET", "/no/such/place/at/all", [("Authorization", header)]).status == 401


def test_a_proxy_names_the_user(start: Start, tmp_path: Path) -> None:
    """Behind a proxy that signs people in, its header counts, with names of all scripts; rights are as ever."""
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "htpasswd.rights.json").write_text(
        json.dumps({"version": 1, "users": {"björn": {"access": "append-only"}}})
    )
    server = LimpetServer(
        folder, "--proxy-auth-username", "X-Remote-User", "--private-repos", users={"nobody": "cannot sign in"}
    )
    try:
        bjorn = ("X-Remote-User", "björn".encode().decode("latin-1"))
        assert ask(server, "POST", "/bj%C3%B6rn/?create=true", [bjorn]).status == 200
        assert ask(server, "POST", "/ann/?create=true", [bjorn]).status == 401
        assert ask(server, "DELETE", "/bj%C3%B6rn/data/" + "ab" * 32, [bjorn]).status == 403
        assert ask(server, "GET", "/bj%C3%B6rn/config", [login("nobody", "cannot sign in")]).status == 401
        assert ask(server, "GET", "/bj%C3%B6rn/config", [("X-Remote-User", "")]).status == 401
    finally:
        server.close()


def test_verify_reports_damage_while_the_server_runs(start: Start) -> None:
    """A disk that goes bad is found by the server, not by the first restore."""
    content = b"will be damaged"
    name = hashlib.sha256(content).hexdigest()
    server = start()
    assert upload(server, "repository", content).status == 200
    server.close()
    (server.data / "repository" / "data" / name[:2] / name).write_bytes(b"is damaged")
    server = start("--verify", "--prometheus")
    wait_for(lambda: name in server.log.read_text(), "the report")
    assert f"verify: data/{name} of repository repository is damaged" in server.log.read_text()
    metrics = ask(server, "GET", "/metrics").body.decode()
    assert "\nlimpet_serve_verify_damaged_files 1\n" in metrics
    wait_for((server.data / ".verify.json").exists, "the file of the report")
    report = json.loads((server.data / ".verify.json").read_text())
    assert [damage["id"] for damage in report["damaged"].values()] == [name]


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    """A limit that cannot be kept must not be taken silently."""
    with pytest.raises(AssertionError, match="--prometheus-no-auth means nothing without --prometheus"):
        LimpetServer(tmp_path, "--prometheus-no-auth")
    with pytest.raises(AssertionError, match="limpet serve user add"):
        LimpetServer(tmp_path, "--htpasswd-file", str(tmp_path / "nobody"), users={})

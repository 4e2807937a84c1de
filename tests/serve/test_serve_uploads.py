"""Uploads to `limpet serve` that do not go as planned: cut, killed, on a full disk, twice at once."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.safety.mounts import small_disk
from tests.serve.cases import CHUNKED, DATA, ID, KINDS, OTHER, V2
from tests.serve.uploading import LARGE, LARGE_ID, MIB, begun, files_of, make_repository, unfinished
from tests.serve.wire import TIMEOUT_S, Answer, Headers, Wire, ask, chunked, request
from tests.services.rest_server import LimpetServer
from tests.services.waiting import wait_for

AT_ONCE = 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LimpetServer]:
    """A new server with the empty repository `r`."""
    server = LimpetServer(tmp_path)
    make_repository(server)
    yield server
    server.close()


def listed(server: LimpetServer, kind: str) -> bytes:
    """What the server lists."""
    return ask(server, "GET", f"/r/{kind}/", [V2]).body


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("ending", [Wire.close, Wire.end, Wire.reset])
def test_cut_upload(server: LimpetServer, in_chunks: bool, ending: Callable[[Wire], None]) -> None:
    """Lines break every day: what has not arrived as a whole is no file, and takes no room."""
    wires = [begun(server, kind, 3 * MIB, in_chunks=in_chunks) for kind in KINDS]
    assert {listed(server, kind) for kind in KINDS} == {b"[]"}
    for wire in wires:
        ending(wire)
    wait_for(lambda: (files_of(server), unfinished(server)) == ({}, 0), "the removal of what arrived")
    for wire in wires:
        wire.close()
    assert ask(server, "POST", f"/r/data/{LARGE_ID}", body=LARGE).status == 200
    assert files_of(server) == {f"r/data/{LARGE_ID[:2]}/{LARGE_ID}": len(LARGE)}


def test_cut_config(server: LimpetServer) -> None:
    """Half a config would be a repository that nobody can open, nor make anew."""
    for headers, body in (([("Content-Length", "100")], b"the con"), ([CHUNKED], b"7\r\nthe con")):
        with Wire(server) as wire:
            wire.answers_to(request("POST", "/r/config", headers, body))
        wait_for(lambda: files_of(server) == {}, "the removal of half a config")
        assert ask(server, "GET", "/r/config").status == 404
    assert ask(server, "POST", "/r/config", body=b"the config").status == 200


def test_killed_in_mid_upload(tmp_path: Path) -> None:
    """Power fails: after the restart only whole files are there, and what was left of others is cleaned away."""
    server = LimpetServer(tmp_path)
    make_repository(server)
    assert ask(server, "POST", f"/r/data/{ID}", body=DATA).status == 200
    wires = [begun(server, kind, MIB) for kind in KINDS]
    server.kill()
    for wire in wires:
        wire.close()
    whole = {f"r/data/{ID[:2]}/{ID}": len(DATA)}
    server = LimpetServer(tmp_path)
    try:
        assert listed(server, "data") == b'[{"name":"%s","size":%d}]' % (ID.encode(), len(DATA))
        assert {listed(server, kind) for kind in KINDS[1:]} == {b"[]"}
        assert ask(server, "POST", f"/r/index/{LARGE_ID}", body=LARGE).status == 200
        whole[f"r/index/{LARGE_ID}"] = len(LARGE)
        wait_for(lambda: files_of(server) == whole, "the removal of what the killed server left")
    finally:
        server.close()


def test_full_disk(tmp_path: Path) -> None:
    """A full disk is told as such, for clients do not try again then, and takes nothing with it."""
    with small_disk(tmp_path / "data", 8):
        server = LimpetServer(tmp_path)
        try:
            make_repository(server)
            assert ask(server, "POST", f"/r/data/{LARGE_ID}", body=LARGE).status == 200
            before = files_of(server)
            more = LARGE[1:] + bytes(2 * MIB)
            name = hashlib.sha256(more).hexdigest()
            for kind in ("data", "index"):
                assert refusal(server, f"/r/{kind}/{name}", more).status == 507
                assert ask(server, "POST", f"/r/{kind}/{name}", [CHUNKED], chunked(more)).status == 507
            assert refusal(server, "/r/config", more).status == 507
            assert files_of(server) == before
            assert ask(server, "POST", f"/r/locks/{ID}", body=DATA).status == 200
            assert ask(server, "DELETE", f"/r/data/{LARGE_ID}").status == 200
            assert ask(server, "POST", f"/r/data/{name}", body=more).status == 200
        finally:
            server.close()


def refusal(server: LimpetServer, target: str, body: bytes) -> Answer:
    """The answer to a body of which the server may not want the rest."""
    with Wire(server) as wire:
        return wire.ask("POST", target, body=body)


def test_quota_of_uploads_at_once(tmp_path: Path) -> None:
    """Uploads that each have room for themselves must not have it together; what broke off gives its room back."""
    server = LimpetServer(tmp_path, "--max-size", str(2 * len(LARGE) + MIB))
    try:
        make_repository(server)
        contents = [bytes([number]) * len(LARGE) for number in range(AT_ONCE)]

        def upload(content: bytes, headers: Headers = (), body: bytes | None = None) -> int:
            target = f"/r/data/{hashlib.sha256(content).hexdigest()}"
            return ask(server, "POST", target, headers, body or content).status

        for number in range(AT_ONCE):
            begun(server, "data", 3 * MIB, in_chunks=bool(number % 2)).close()
            wait_for(lambda: unfinished(server) == 0, "the end of a broken upload")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            statuses = [*pool.map(upload, contents)]
            # In chunks, of which nobody knows how many come.
            statuses += pool.map(lambda content: upload(content, [CHUNKED], chunked(content)), contents)
        assert set(statuses) == {200, 507}
        assert sum(files_of(server).values()) == 2 * len(LARGE)
    finally:
        server.close()


def test_one_file_from_many_at_once(server: LimpetServer) -> None:
    """Several threads of a client may save the same index: all of them have saved it then."""
    answers = at_once([server], f"/r/index/{LARGE_ID}", [LARGE] * AT_ONCE)
    assert Counter(answer.status for answer in answers) == {200: AT_ONCE}
    assert files_of(server) == {f"r/index/{LARGE_ID}": len(LARGE)}
    assert ask(server, "GET", f"/r/index/{LARGE_ID}").body == LARGE


def test_right_and_wrong_content_at_once(server: LimpetServer) -> None:
    """Content that is not what its name says is refused, whoever else saves the right one meanwhile."""
    wrong = LARGE[:-1] + b"x"
    answers = at_once([server], f"/r/index/{LARGE_ID}", [LARGE, wrong] * (AT_ONCE // 2))
    assert [answer.status for answer in answers[::2]] == [200] * (AT_ONCE // 2)
    assert {answer.status for answer in answers[1::2]} <= {400, 403}
    assert ask(server, "GET", f"/r/index/{LARGE_ID}").body == LARGE
    assert files_of(server) == {f"r/index/{LARGE_ID}": len(LARGE)}


@pytest.mark.parametrize("target", ["/r/config", f"/r/index/{LARGE_ID}"])
def test_two_contents_of_one_name_at_once(tmp_path: Path, target: str) -> None:
    """Where the name says nothing about the content one client wins, the others are told, and nothing is mixed."""
    server = LimpetServer(tmp_path, "--no-verify-upload")
    try:
        make_repository(server)
        contents = [bytes([number]) * MIB for number in range(AT_ONCE)]
        answers = at_once([server], target, contents)
        assert Counter(answer.status for answer in answers) == {200: 1, 403: AT_ONCE - 1}
        winner = contents[[answer.status for answer in answers].index(200)]
        assert ask(server, "GET", target).body == winner
        assert list(files_of(server).values()) == [MIB]
    finally:
        server.close()


def test_two_servers_on_one_folder(tmp_path: Path) -> None:
    """A new server starts before the old one has ended: neither takes or overwrites what clients of the other store."""
    one = LimpetServer(tmp_path / "one", "--no-verify-upload")
    make_repository(one)
    slow = begun(one, "data", MIB)
    other = LimpetServer(tmp_path / "other", "--no-verify-upload", "--path", str(one.data))
    try:
        slow.send(LARGE[MIB:])
        assert slow.answer("POST").status == 200
        slow.close()
        for number in range(5):
            target = f"/r/index/{number:064x}"
            contents = [bytes([letter]) * MIB for letter in range(AT_ONCE)]
            answers = at_once([one, other], target, contents)
            assert Counter(answer.status for answer in answers) == {200: 1, 403: AT_ONCE - 1}
            winner = contents[[answer.status for answer in answers].index(200)]
            assert {ask(server, "GET", target).body for server in (one, other)} == {winner}
        answers = at_once([one, other], "/r/config", [DATA] * AT_ONCE)
        assert Counter(answer.status for answer in answers) == {200: AT_ONCE}
        assert len(files_of(one)) == 7, "and nothing is left of the others"
    finally:
        one.close()
        other.close()


def test_a_slow_upload_keeps_nobody_waiting(server: LimpetServer) -> None:
    """A client that hangs in the middle of a file must not hold the name against the one that has it all."""
    slow = begun(server, "data", MIB)
    assert ask(server, "POST", f"/r/data/{LARGE_ID}", body=LARGE).status == 200
    assert ask(server, "GET", f"/r/data/{LARGE_ID}").body == LARGE
    slow.send(LARGE[MIB:])
    assert slow.answer("POST").status == 200
    slow.close()
    assert files_of(server) == {f"r/data/{LARGE_ID[:2]}/{LARGE_ID}": len(LARGE)}


def test_asked_before_the_body(server: LimpetServer) -> None:
    """A client that asks first sends a pack once, and none that is refused."""
    with Wire(server) as wire:
        wire.send(request("POST", f"/r/data/{LARGE_ID}", [("Expect", "100-continue")], LARGE)[: -len(LARGE)])
        assert wire.any_answer("POST").status == 100
        wire.send(LARGE)
        assert wire.answer("POST").status == 200
    with Wire(server) as wire:
        wire.send(request("POST", "/r/data/none", [("Expect", "100-continue"), ("Content-Length", "4194304")]))
        assert wire.any_answer("POST").status == 404


def test_a_refused_body_is_not_swallowed_for_ever(server: LimpetServer, tmp_path: Path) -> None:
    """The body of a refused request is as long as an attacker likes."""
    path = tmp_path / "endless"
    with Wire(server) as wire, path.open("w+b") as large:
        large.truncate(64 << 30)
        wire.send(request("POST", "/r/data/none", [("Content-Length", str(1 << 50))], OTHER))
        assert wire.answer("POST").status == 404
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            wire.socket.sendfile(large)
    assert files_of(server) == {}


def at_once(servers: Sequence[LimpetServer], target: str, contents: list[bytes]) -> list[Answer]:
    """The answers to uploads of these under one name to the servers by turns, whose ends come in the same moment."""
    start = threading.Barrier(len(contents), timeout=TIMEOUT_S)

    def upload(content: bytes, server: LimpetServer) -> Answer:
        with Wire(server) as wire:
            wire.send(request("POST", target, body=content)[:-1])
            start.wait()
            wire.send(content[-1:])
            return wire.answer("POST")

    with ThreadPoolExecutor(len(contents)) as pool:
        return list(pool.map(upload, contents, itertools.cycle(servers)))

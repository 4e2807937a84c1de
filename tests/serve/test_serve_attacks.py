"""Hostile requests to `limpet serve`: out of its folder, two requests in one, absurd sizes, guessed passwords."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.cases import DATA, ID, KINDS, OTHER, OTHER_ID, USERS, login
from tests.serve.wire import Connections, Wire, ask, chunked, request
from tests.services.rest_server import LimpetServer

MIB = 1 << 20
SECRET = b"a file beside the server's folder, which is nobody's business"
REFUSED = {400, 404, 405, 414}
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimpetServer]:
    """Anybody may do anything, within its folder."""
    server = LimpetServer(tmp_path_factory.mktemp("serve"))
    yield server
    server.close()


@pytest.fixture
def repository(server: LimpetServer) -> Path:
    """A new repository with one file; the name of its folder is the repository's."""
    folder = server.data / f"repository-{next(NUMBERS)}"
    for kind in KINDS:
        (folder / kind).mkdir(parents=True)
    assert ask(server, "POST", f"/{folder.name}/data/{ID}", body=DATA).status == 200
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below the folder and what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- out of the folder

UPWARDS = [
    "..",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "%c0%ae%c0%ae",
    "%e0%80%ae%e0%80%ae",
    "%uff0e%uff0e",
    "..%00",
    "..%20",
    "..;",
    "...",
    "....",
    "\uff0e\uff0e".encode().decode("latin-1"),
    "\xae\xae",
]
SLASHES = ["/", "%2f", "%2F", "//", "\\", "%5c", "%252f", "%c0%af", "/./", "%00/", "%0d%0a/"]
AWAY = [
    *(up + slash for up in UPWARDS for slash in SLASHES),
    "/",
    "//",
    "%2f",
    "file:///",
    "http://localhost/../",
    "%00",
    "~/",
    "C:\\",
]


TRIED: list[tuple[str, bytes | None]] = [("GET", None), ("POST", b"not what was there"), ("DELETE", None)]


@pytest.mark.parametrize(("inside", "depth"), [("", 1), ("R/data/", 3)])
def test_no_path_leads_out(server: LimpetServer, repository: Path, inside: str, depth: int) -> None:
    """Whoever may write one file where he likes owns the machine, and who may read one has the others' passwords."""
    root = server.data.parent
    (root / "secret").write_bytes(SECRET)
    (root / "outside" / "keys").mkdir(parents=True, exist_ok=True)
    (root / "outside" / "keys" / ID).write_bytes(SECRET)
    (root / "outside" / "config").write_bytes(SECRET)
    before = {name: data for name, data in files_of(root).items() if not name.endswith(".log")}
    base = f"/{inside.replace('R', repository.name)}"
    ups = [f"{base}{away * depth}" for away in AWAY]
    with Connections(server) as connections:
        for target in (up + end for up in ups for end in ("secret", f"outside/keys/{ID}")):
            got, posted, deleted = (connections.ask(method, target, body) for method, body in TRIED)
            assert got.status in REFUSED, target
            assert posted.status in REFUSED, target
            assert deleted.status in REFUSED | {200}, target  # To remove what is not there is no failure.
            assert SECRET not in got.body + posted.body + deleted.body
        for up in ups:
            connections.ask("POST", f"{up}evil/?create=true")
    after = {name: data for name, data in files_of(root).items() if not name.endswith(".log")}
    assert after == before
    assert {path.name for path in root.iterdir()} <= {"data", "outside", "secret", server.log.name}


def test_links_lead_nowhere(server: LimpetServer, repository: Path) -> None:
    """Another user of the disk, or a restore into it, may leave a link behind: the server must not follow it out."""
    outside = server.data.parent / "target of a link"
    outside.write_bytes(DATA)
    file = repository / "keys" / ID
    file.symlink_to(outside)
    target = f"/{repository.name}/keys/{ID}"
    assert ask(server, "GET", target).status in {403, 404}
    assert ask(server, "HEAD", target).status in {403, 404}
    assert ask(server, "GET", f"/{repository.name}/keys/").body == b"[]"
    ask(server, "POST", target, body=DATA)
    ask(server, "DELETE", target)
    assert outside.read_bytes() == DATA


def test_names_with_control_characters(tmp_path: Path) -> None:
    """Whoever reads the log on a terminal must not be shown lines that a client made up."""
    server = LimpetServer(tmp_path, "--debug", "--log", "-")
    try:
        (server.data / "file").touch()
        for name in ("%1b[31mred%0d%0aFatal:%20made%20up", "%ff%00", "%c2%9b31m", "%e2%80%ae"):
            for target in (f"/{name}/config", f"/file/{name}/?create=true", f"/{name}/{name}/keys/"):
                for method in ("GET", "POST"):
                    answer = ask(server, method, target, [("User-Agent", "a\x9b31m")], b"")
                    assert answer.body.decode().removesuffix("\n").isprintable() or answer.status == 200
    finally:
        server.close()
    lines = server.log.read_text().split("\n")
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("Fatal") for line in lines)


def test_names_of_every_length(server: LimpetServer, repository: Path) -> None:
    """An id is 64 digits: one that is a million of them must cost neither memory nor a crash."""
    for length in (1, 63, 65, 255, 256, 4096, 70_000, MIB):
        for name in ("a" * length, "%61" * (length // 3 + 1), "../" * (length // 3 + 1), "a" * length + ID):
            target = f"/{repository.name}/data/{name}"
            with Wire(server) as wire:
                answers = wire.answers_to(request("GET", target, [("Connection", "close")]))
            # The server may end the connection before it has read all of the name.
            assert {answer.status for answer in answers} <= REFUSED | {431}, length
    assert ask(server, "GET", f"/{repository.name}/data/{ID}").body == DATA


# -- headers

ABSURD = {
    "one of 4 MiB": b"X-Large: " + b"x" * (4 * MIB) + b"\r\n",
    "100,000 of them": b"".join(b"X-%d: y\r\n" % number for number in range(100_000)),
    "name of 1 MiB": b"x" * MIB + b": y\r\n",
    "no name": b": y\r\n",
    "no colon": b"nothing\r\n",
    "NUL": b"X-Nul: a\0b\r\n",
    "control characters": b"X-Control: \x01\x02\x7f\r\n",
    "name with a space": b"X Space: y\r\n",
    "lone carriage return": b"X-Return: a\rb: c\r\n",
    "two hosts": b"Host: one\r\nHost: two\r\n",
    "length that is no number": b"Content-Length: lots\r\n",
    "negative length": b"Content-Length: -1\r\n",
    "length of 2**64": b"Content-Length: 18446744073709551616\r\n",
    "length of 5,000 digits": b"Content-Length: " + b"9" * 5000 + b"\r\n",
    "login of 1 MiB": b"Authorization: Basic " + b"QUJD" * (MIB // 4) + b"\r\n",
    "range of a million parts": b"Range: bytes=" + b"0-0," * 1_000_000 + b"0-0\r\n",
    "a thousand ranges": b"Range: bytes=" + b"0-," * 1_000 + b"0-\r\n",
    "range of 5,000 digits": b"Range: bytes=0-" + b"9" * 5000 + b"\r\n",
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_headers(server: LimpetServer, repository: Path, name: str) -> None:
    """One request must not cost the server its memory, its time or its life."""
    target = f"/{repository.name}/data/{ID}"
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\n".encode() + ABSURD[name] + b"Connection: close\r\n\r\n"
    with Wire(server) as wire:
        answers = wire.answers_to(head)
    assert len(answers) <= 1
    assert all(answer.status in {200, 206, 400, 413, 416, 431} for answer in answers), answers
    assert all(len(answer.body) < 100 * len(DATA) for answer in answers)
    assert ask(server, "GET", target).body == DATA


# -- two requests in one

HIDDEN = "DELETE /R/data/ID HTTP/1.1\r\nHost: x\r\n\r\n"


def smuggled(*headers: str, body: str = "") -> bytes:
    """A POST of which one server sees the end where another sees it go on; a request to delete hides in its body."""
    return "\r\n".join(["POST /R/keys/OTHER HTTP/1.1", "Host: x", *headers, "", body + HIDDEN]).encode("latin-1")


SMUGGLED = {
    "length and chunks": smuggled("Content-Length: 6", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
    "chunks and length": smuggled("Transfer-Encoding: chunked", "Content-Length: 6", body="0\r\n\r\n"),
    "two lengths": smuggled("Content-Length: 0", "Content-Length: 200"),
    "two lengths in one": smuggled("Content-Length: 0, 200"),
    "length with a sign": smuggled("Content-Length: +0"),
    "length with a line": smuggled("Content-Length: 0_0"),
    "length in hex": smuggled("Content-Length: 0x0"),
    "length with a space": smuggled("Content-Length: 0 0"),
    "length in other digits": smuggled("Content-Length: \xb2"),
    "space before the colon": smuggled("Content-Length : 0"),
    "folded length": smuggled("Content-Length:", " 0"),
    "folded header": smuggled("X-Fold: a", "\tContent-Length: 0"),
    "fold at the beginning": b"POST /R/keys/OTHER HTTP/1.1\r\n Host: x\r\nContent-Length: 0\r\n\r\n" + HIDDEN.encode(),
    "chunks under another name": smuggled("Transfer-Encoding: xchunked", "Content-Length: 0"),
    "chunks, then none": smuggled("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body="0\r\n\r\n"),
    "chunks not last": smuggled("Transfer-Encoding: chunked, identity", body="0\r\n\r\n"),
    "chunks twice": smuggled("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body="0\r\n\r\n"),
    "chunks in quotes": smuggled('Transfer-Encoding: "chunked"', "Content-Length: 0"),
    "chunks behind a tab": smuggled("Transfer-Encoding:\x0bchunked", "Content-Length: 0"),
    "chunks, space before the colon": smuggled("Transfer-Encoding : chunked", "Content-Length: 0"),
    "bare line feeds": f"POST /R/keys/OTHER HTTP/1.1\nHost: x\nContent-Length: 0\n\n{HIDDEN}".encode(),
    "bare line feed in a header": smuggled("X-Line: a\nContent-Length: 0"),
    "bare carriage return": smuggled("X-Return: a\rContent-Length: 0"),
    "chunk of negative size": smuggled("Transfer-Encoding: chunked", body="-1\r\n\r\n"),
    "chunk size with 0x": smuggled("Transfer-Encoding: chunked", body="0x0\r\n\r\n"),
    "chunk size with a line": smuggled("Transfer-Encoding: chunked", body="0_0\r\n\r\n"),
    "chunk size with a sign": smuggled("Transfer-Encoding: chunked", body="+0\r\n\r\n"),
    "chunk size of 2**64": smuggled("Transfer-Encoding: chunked", body="10000000000000000\r\n\r\n"),
    "chunk size missing": smuggled("Transfer-Encoding: chunked", body="\r\n\r\n"),
    "chunk ended by line feeds": smuggled("Transfer-Encoding: chunked", body="5\nhello\n0\n\n"),
    "chunk longer than its size": smuggled("Transfer-Encoding: chunked", body="3\r\nhello\r\n0\r\n\r\n"),
    "line feed in a chunk's extension": smuggled("Transfer-Encoding: chunked", body="0;a\nb\r\n\r\n"),
    "carriage return in a chunk's extension": smuggled("Transfer-Encoding: chunked", body="0;a\rb\r\n\r\n"),
    "version of the past": b"POST /R/keys/OTHER HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + HIDDEN.encode(),
    "version of the future": b"POST /R/keys/OTHER HTTP/9.9\r\nHost: x\r\nContent-Length: 0\r\n\r\n" + HIDDEN.encode(),
    "no version": b"GET /R/keys/\r\n\r\n" + HIDDEN.encode(),
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_no_request_hides_in_another(server: LimpetServer, repository: Path, name: str) -> None:
    """A proxy in front that checks who may delete must see the same requests as the server behind it."""
    data = SMUGGLED[name].replace(b"/R/", f"/{repository.name}/".encode())
    with Wire(server) as wire:
        answers = wire.answers_to(data.replace(b"ID", ID.encode()).replace(b"OTHER", OTHER_ID.encode()))
    assert [answer.status for answer in answers][:1] in ([400], [501], [505], []), answers
    assert len(answers) <= 1, "the hidden request was answered"
    assert files_of(repository) == {f"data/{ID[:2]}/{ID}": DATA}


def test_extensions_and_trailers_of_chunks(server: LimpetServer, repository: Path) -> None:
    """They are allowed and mean nothing: what is stored is the content, and the next request begins behind them."""
    size = b"%x" % len(OTHER)
    bodies = [
        size + b";name=value\r\n" + OTHER + b"\r\n0;last\r\n\r\n",
        size.upper() + b"\r\n" + OTHER + b"\r\n0\r\nX-Trailer: DELETE / HTTP/1.1\r\n\r\n",
        b"000" + size + b"\r\n" + OTHER + b"\r\n000\r\n\r\n",
    ]
    for kind, body in zip(KINDS, bodies, strict=False):
        target = f"/{repository.name}/{kind}/{OTHER_ID}"
        with Wire(server) as wire:
            answer = wire.ask("POST", target, [("Transfer-Encoding", "chunked")], body)
            if answer.status == 200:
                assert wire.ask("GET", target).body == OTHER
            else:
                assert answer.status == 400
    endless = b"1" + b";" + b"x" * (4 * MIB) + b"\r\n"
    with Wire(server) as wire:
        head = request("POST", f"/{repository.name}/locks/{OTHER_ID}", [("Transfer-Encoding", "chunked")])
        assert [answer.status for answer in wire.answers_to(head + endless)] in ([400], [])
    assert not (repository / "locks" / OTHER_ID).exists()


def test_requests_in_a_row(server: LimpetServer, repository: Path) -> None:
    """Requests sent without waiting are answered in their order, each once."""
    other = f"/{repository.name}/index/{OTHER_ID}"
    sent = [
        request("POST", other, body=OTHER),
        request("GET", other),
        request("HEAD", other),
        request("POST", other, [("Transfer-Encoding", "chunked")], chunked(OTHER)),
        request("DELETE", other),
        request("GET", other),
        request("GET", f"/{repository.name}/data/{ID}"),
    ]
    with Wire(server) as wire:
        wire.send(b"".join(sent))
        methods = [data.split()[0].decode() for data in sent]
        answers = [wire.answer(method) for method in methods]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 200, 404, 200]
    assert answers[1].body == OTHER
    assert answers[-1].body == DATA


def test_user_of_a_proxy_is_said_once(tmp_path: Path) -> None:
    """Some proxies add their header behind the client's: whoever has both in hand must not choose who he is."""
    header = "X-Forwarded-User"
    server = LimpetServer(tmp_path, "--proxy-auth-username", header, "--private-repos", users=USERS)
    try:
        for names in (("bob", "ann"), ("ann", "bob"), ("bob", ""), ("", "bob"), ("bob", "bob")):
            for other in (header, header.lower(), header.upper()):
                headers = [(header, names[0]), (other, names[1])]
                assert ask(server, "POST", "/bob/?create=true", headers).status == 400
        for name in ("bob, ann", "ann, bob", "bob/", "./bob", "BOB", "b%6fb", "ann\tbob"):
            assert ask(server, "POST", "/bob/?create=true", [(header, name)]).status == 401
        assert ask(server, "POST", "/bob/?create=true", [(header.replace("-", "_"), "bob")]).status == 401
        assert not (server.data / "bob").exists()
        assert ask(server, "POST", "/bob/?create=true", [(header, " bob ")]).status == 200
    finally:
        server.close()


# -- guessed passwords


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    """A password is found by trying many: after some the server looks at no more, and lets everybody else in."""
    server = LimpetServer(tmp_path, users=USERS)
    try:
        guesses = [hashlib.sha256(b"%d" % number).hexdigest()[:12] for number in range(100)]
        with Connections(server) as connections:
            statuses = [connections.ask("GET", "/r/config", None, [login("ann", guess)]).status for guess in guesses]
            assert set(statuses) == {401, 429}
            assert statuses.count(401) <= 20
            refused = connections.ask("GET", "/r/config", None, [login("ann", "once more")])
            assert (refused.status, int(refused.headers["retry-after"]) > 0) == (429, True)
            assert connections.ask("GET", "/r/config", None, [login("bob", USERS["bob"])]).status == 404
    finally:
        server.close()

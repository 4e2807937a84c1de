"""What a client may ask a server of restic's REST protocol, right or wrong: requests by case, cases by server.

`R` at the beginning of a target is the case's own repository: each case has a fresh one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.serve.wire import Headers, chunked

DATA = b"\x00\x01some bytes of a pack"
ID = hashlib.sha256(DATA).hexdigest()
OTHER = b"\xfeother bytes"
OTHER_ID = hashlib.sha256(OTHER).hexdigest()
EMPTY_ID = hashlib.sha256(b"").hexdigest()
KINDS = ("data", "index", "keys", "locks", "snapshots")
V1, V2 = (("Accept", f"application/vnd.x.restic.rest.v{number}") for number in (1, 2))
CHUNKED = ("Transfer-Encoding", "chunked")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
OCTETS = ("Content-Type", "application/octet-stream")
USERS = {"ann": "a/word:of@hers", "bob": "other", "metrics": "m"}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    method: str
    target: str
    body: bytes | None = None
    headers: Headers = ()

    def target_in(self, repository: str) -> str:
        """The target for a case whose repository has this name."""
        return f"/{repository}{self.target[1:]}" if self.target.startswith("R") else self.target


@dataclass(frozen=True, slots=True)
class Case:
    """Requests one after the other, on connections of their own; the name says what is special."""

    name: str
    asks: Sequence[Ask]
    planted: Sequence[str] = ()
    """Files that somebody put into the repository behind the server's back."""
    is_made: bool = True
    """Whether the repository's folders are there before the first request."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A server's options, and the cases it is asked."""

    name: str
    flags: Sequence[str]
    cases: Sequence[Case]
    users: Mapping[str, str] | None = None
    """Nobody has to log in where there are none."""


def login(name: str, password: str) -> tuple[str, str]:
    """The header that says who asks."""
    return "Authorization", "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


ANN = login("ann", USERS["ann"])
CREATE = Ask("POST", "R/?create=true")
POST = Ask("POST", f"R/data/{ID}", DATA)
GET = Ask("GET", f"R/data/{ID}")
DELETE = Ask("DELETE", f"R/data/{ID}")
CONFIG = Ask("POST", "R/config", b"the config")
LIST = Ask("GET", "R/data/", headers=[V2])


def with_headers(ask: Ask, *headers: tuple[str, str]) -> Ask:
    """The same request with more headers."""
    return Ask(ask.method, ask.target, ask.body, [*ask.headers, *headers])


def cases_of_kinds() -> Iterator[Case]:
    """Every kind of file through its whole life."""
    for kind in KINDS:
        file, there = f"R/{kind}/{ID}", [Ask("POST", f"R/{kind}/{ID}", DATA)]
        yield Case(f"{kind}: HEAD of a missing file", [Ask("HEAD", file)])
        yield Case(f"{kind}: GET of a missing file", [Ask("GET", file)])
        yield Case(f"{kind}: DELETE of a missing file", [Ask("DELETE", file)])
        yield Case(f"{kind}: POST", there)
        yield Case(f"{kind}: HEAD", [*there, Ask("HEAD", file)])
        yield Case(f"{kind}: GET", [*there, Ask("GET", file)])
        yield Case(f"{kind}: DELETE", [*there, Ask("DELETE", file)])
        yield Case(f"{kind}: DELETE twice", [*there, Ask("DELETE", file), Ask("DELETE", file)])
        yield Case(f"{kind}: PUT", [*there, Ask("PUT", file, DATA)])
        yield Case(f"{kind}: list, version 1", [*there, Ask("GET", f"R/{kind}/")])
        yield Case(f"{kind}: list, version 1 by name", [*there, Ask("GET", f"R/{kind}/", headers=[V1])])
        yield Case(f"{kind}: list, version 2", [*there, Ask("GET", f"R/{kind}/", headers=[V2])])
        yield Case(f"{kind}: list of nothing, version 1", [Ask("GET", f"R/{kind}/")])
        yield Case(f"{kind}: list of nothing, version 2", [Ask("GET", f"R/{kind}/", headers=[V2])])
        yield Case(f"{kind}: list in no repository", [Ask("GET", f"R/{kind}/", headers=[V2])], is_made=False)
        yield Case(f"{kind}: list without a slash", [Ask("GET", f"R/{kind}")])
        yield Case(f"{kind}: HEAD of a list", [Ask("HEAD", f"R/{kind}/")])
        yield Case(f"{kind}: POST to a list", [Ask("POST", f"R/{kind}/", DATA)])
        yield Case(f"{kind}: DELETE of a list", [Ask("DELETE", f"R/{kind}/")])
        yield Case(f"{kind}: POST with another hash", [Ask("POST", f"R/{kind}/{ID}", OTHER)])
        yield Case(f"{kind}: POST of other content on a file", [*there, Ask("POST", f"R/{kind}/{ID}", OTHER)])


PLAIN = [
    Case("create", [CREATE], is_made=False),
    Case("create twice", [CREATE, POST, CREATE, GET], is_made=False),
    Case("create=false", [Ask("POST", "R/?create=false")], is_made=False),
    Case("create=TRUE", [Ask("POST", "R/?create=TRUE")], is_made=False),
    Case("create without a value", [Ask("POST", "R/?create")], is_made=False),
    Case("create among other parameters", [Ask("POST", "R/?x=1&create=true&y=2")], is_made=False),
    Case("create escaped", [Ask("POST", "R/?cre%61te=tru%65")], is_made=False),
    Case("POST to the root without create", [Ask("POST", "R/")], is_made=False),
    Case("create with a body", [Ask("POST", "R/?create=true", b"ignored")], is_made=False),
    Case("create without a slash", [Ask("POST", "R?create=true")], is_made=False),
    Case(
        "create two folders deep",
        [Ask("POST", "R/deep/?create=true"), Ask("GET", "R/deep/data/", headers=[V2])],
        is_made=False,
    ),
    Case("create three folders deep", [Ask("POST", "R/deep/deeper/?create=true")], is_made=False),
    Case("GET of a repository", [Ask("GET", "R/")]),
    Case("HEAD of a repository", [Ask("HEAD", "R/")]),
    Case("DELETE of a repository", [Ask("DELETE", "R/")]),
    Case("DELETE of a repository without a slash", [Ask("DELETE", "R")]),
    Case("GET of a folder that is none", [Ask("GET", "R/nothing")]),
    Case("GET of a folder's file", [POST, Ask("GET", f"R/data/{ID[:2]}/{ID}")]),
    Case("config: HEAD of none", [Ask("HEAD", "R/config")]),
    Case("config: GET of none", [Ask("GET", "R/config")]),
    Case("config: DELETE of none", [Ask("DELETE", "R/config")]),
    Case("config: POST", [CONFIG]),
    Case("config: HEAD", [CONFIG, Ask("HEAD", "R/config")]),
    Case("config: GET", [CONFIG, Ask("GET", "R/config")]),
    Case("config: GET of a range", [CONFIG, Ask("GET", "R/config", headers=[("Range", "bytes=0-2")])]),
    Case("config: the same again", [CONFIG, CONFIG]),
    Case("config: another", [CONFIG, Ask("POST", "R/config", b"another")]),
    Case("config: DELETE", [CONFIG, Ask("DELETE", "R/config"), Ask("GET", "R/config")]),
    Case("config: PUT", [CONFIG, Ask("PUT", "R/config", b"another")]),
    Case("config: with a slash", [CONFIG, Ask("GET", "R/config/")]),
    Case("config: with a name", [CONFIG, Ask("GET", f"R/config/{ID}")]),
    Case("config: in chunks", [Ask("POST", "R/config", chunked(b"the ", b"config"), [CHUNKED])]),
    Case("config: empty", [Ask("POST", "R/config", b"")]),
    Case("config: before the repository", [CONFIG], is_made=False),
    Case("file before the repository", [POST, GET], is_made=False),
    Case("GET before the repository", [GET], is_made=False),
    Case("DELETE before the repository", [DELETE], is_made=False),
    *cases_of_kinds(),
    Case("the same file again", [POST, POST]),
    Case("the same file again in chunks", [POST, Ask("POST", POST.target, chunked(DATA), [CHUNKED])]),
    Case("the same file after its DELETE", [POST, DELETE, POST, GET]),
    Case("the beginning of a file again", [POST, Ask("POST", POST.target, DATA[:5])]),
    Case("more than the file again", [POST, Ask("POST", POST.target, DATA + b"more")]),
    Case("nothing for a file that is there", [POST, Ask("POST", POST.target, b"")]),
    Case("empty file", [Ask("POST", f"R/data/{EMPTY_ID}", b""), Ask("GET", f"R/data/{EMPTY_ID}")]),
    Case(
        "empty file, with a range",
        [
            Ask("POST", f"R/data/{EMPTY_ID}", b""),
            Ask("GET", f"R/data/{EMPTY_ID}", headers=[("Range", "bytes=0-")]),
        ],
    ),
    Case("in chunks", [Ask("POST", POST.target, chunked(DATA[:7], DATA[7:]), [CHUNKED]), GET]),
    Case("in chunks, another hash", [Ask("POST", POST.target, chunked(OTHER), [CHUNKED])]),
    Case("neither a length nor chunks", [Ask("POST", POST.target)]),
    Case("neither, for the hash of nothing", [Ask("POST", f"R/data/{EMPTY_ID}")]),
    Case("as a form", [with_headers(POST, FORM), GET]),
    Case("as octets", [with_headers(POST, OCTETS), GET]),
    Case("packed by gzip, says the header", [with_headers(POST, ("Content-Encoding", "gzip")), GET]),
    Case("list asked for with two kinds", [POST, Ask("GET", "R/data/", headers=[(V2[0], f"{V2[1]}, */*")])]),
    Case("list asked for as JSON", [POST, Ask("GET", "R/data/", headers=[("Accept", "application/json")])]),
    Case("list asked for in capitals", [POST, Ask("GET", "R/data/", headers=[(V2[0], V2[1].upper())])]),
    Case("list with a query", [POST, Ask("GET", "R/data/?x=1", headers=[V2])]),
    Case("list twice the slash", [Ask("GET", "R/data//", headers=[V2])]),
    Case("temporary file in a list", [LIST], [f"data/{ID[:2]}/{OTHER_ID}.rest-server-temp123"]),
    Case("stray file in a list", [Ask("GET", "R/keys/", headers=[V2])], ["keys/.nfs0001"]),
    Case("stray folder in a list", [Ask("GET", "R/keys/", headers=[V2])], ["keys/lost+found/x"]),
    Case("file in the wrong folder", [LIST], [f"data/00/{ID}"]),
    Case("file beside the folders", [LIST], [f"data/{ID}"]),
    Case("id in capitals", [POST, Ask("GET", f"R/data/{ID.upper()}")]),
    Case("POST of an id in capitals", [Ask("POST", f"R/data/{ID.upper()}", DATA)]),
    Case("id too short", [POST, Ask("GET", f"R/data/{ID[:-1]}")]),
    Case("id too long", [POST, Ask("GET", f"R/data/{ID}0")]),
    Case("id with another letter", [Ask("GET", f"R/data/{ID[:-1]}g")]),
    Case("id escaped", [POST, Ask("GET", f"R/data/%{ord(ID[0]):02x}{ID[1:]}")]),
    Case("id with a slash behind it", [POST, Ask("GET", f"R/data/{ID}/")]),
    Case("id with a line end behind it", [POST, Ask("GET", f"R/data/{ID}%0a")]),
    Case("file with a query", [POST, Ask("GET", f"R/data/{ID}?x=1")]),
    Case("kind in capitals", [Ask("GET", "R/DATA/")]),
    Case("kind that is none", [Ask("GET", "R/packs/")]),
    Case("repository in another's folder", [POST, Ask("GET", f"R/data/../data/{ID}")]),
    Case("folder of dots", [Ask("GET", "R/../R/config")]),
    Case("folder of escaped dots", [CONFIG, Ask("GET", "R/%2e%2e/R/config")]),
    Case("escaped slashes", [CONFIG, Ask("GET", "R%2fconfig")]),
    Case("empty folder", [CONFIG, Ask("GET", "R//config")]),
    Case("folder with a space", [Ask("POST", "R%20x/?create=true"), Ask("GET", "R%20x/keys/")]),
    Case("folder of another alphabet", [Ask("POST", "R%c3%a9/?create=true"), Ask("GET", "R%c3%a9/keys/")]),
    Case("folder that begins with a dot", [Ask("POST", "/.hidden/?create=true")]),
    Case("folder with NUL", [Ask("POST", "R%00/?create=true")]),
    Case("folder that is no file's name", [Ask("POST", "R" + "x" * 300 + "/?create=true")]),
    Case("bad escape", [Ask("GET", "R/%zz/config")]),
    Case("absolute target", [CONFIG, Ask("GET", "http://backup.example.org/nobody/config")]),
    Case("root of the server", [Ask("GET", "/")]),
    Case("config of the root", [Ask("GET", "/config")]),
    Case("star", [Ask("OPTIONS", "*")]),
    Case("OPTIONS", [POST, Ask("OPTIONS", GET.target)]),
    Case("PATCH", [POST, Ask("PATCH", GET.target, DATA)]),
    Case("TRACE", [POST, Ask("TRACE", GET.target)]),
    Case("a method of one's own", [POST, Ask("LIMPET", GET.target)]),
    Case("method in small letters", [POST, Ask("get", GET.target)]),
    *(
        Case(f"range {value}", [POST, Ask("GET", GET.target, headers=[("Range", value)])])
        for value in (
            "bytes=0-",
            "bytes=0-4",
            "bytes=5-5",
            "bytes=-5",
            "bytes=-500",
            "bytes=-0",
            "bytes=3-999",
            f"bytes={len(DATA)}-",
            "bytes=999-1000",
            "bytes=5-2",
            "bytes=",
            "bytes=-",
            "bytes=x-y",
            "bytes= 1 - 2 ",
            "bytes=0-1,4-5",
            "bytes=0-0,-1",
            "bytes=0-1,999-",
            "bytes=99999999999999999999999-",
            "items=0-4",
            "0-4",
        )
    ),
    Case("HEAD with a range", [POST, Ask("HEAD", GET.target, headers=[("Range", "bytes=0-4")])]),
    Case(
        "range if unchanged",
        [POST, Ask("GET", GET.target, headers=[("Range", "bytes=0-4"), ("If-Range", '"x"')])],
    ),
    Case("if none matches", [POST, Ask("GET", GET.target, headers=[("If-None-Match", "*")])]),
    Case("if one matches", [POST, Ask("GET", GET.target, headers=[("If-Match", '"x"')])]),
    Case(
        "if modified",
        [POST, Ask("GET", GET.target, headers=[("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT")])],
    ),
    Case("packed answer asked for", [POST, Ask("GET", GET.target, headers=[("Accept-Encoding", "gzip")])]),
    Case("text in a file", [Ask("POST", "R/config", b"plain text"), Ask("GET", "R/config")]),
    Case("GET with a body", [POST, Ask("GET", GET.target, b"ignored")]),
    Case("DELETE with a body", [POST, Ask("DELETE", GET.target, b"ignored")]),
    Case("login where nobody has to", [with_headers(CONFIG, login("any", "body"))]),
    Case("metrics without --prometheus", [Ask("GET", "/metrics")]),
]

APPEND_ONLY = [
    Case("append-only: config", [CONFIG, Ask("DELETE", "R/config")]),
    Case("append-only: another config", [CONFIG, Ask("POST", "R/config", b"another")]),
    Case("append-only: the same config again", [CONFIG, CONFIG]),
    *(
        Case(
            f"append-only: DELETE in {kind}",
            [Ask("POST", f"R/{kind}/{ID}", DATA), Ask("DELETE", f"R/{kind}/{ID}")],
        )
        for kind in KINDS
    ),
    Case("append-only: DELETE of a missing file", [DELETE]),
    Case("append-only: DELETE of a missing lock", [Ask("DELETE", f"R/locks/{ID}")]),
    Case("append-only: DELETE of a missing config", [Ask("DELETE", "R/config")]),
    Case("append-only: other content", [POST, Ask("POST", POST.target, OTHER)]),
    Case("append-only: the same file again", [POST, POST]),
    Case("append-only: reading", [POST, GET]),
    Case("append-only: create twice", [CREATE, CREATE], is_made=False),
]

LOGINS = [
    Case("login: none", [CREATE]),
    Case("login: right", [with_headers(CREATE, ANN)]),
    Case("login: another user's repository", [with_headers(CREATE, login("bob", USERS["bob"]))]),
    Case("login: wrong password", [with_headers(CREATE, login("ann", "wrong"))]),
    Case("login: empty password", [with_headers(CREATE, login("ann", ""))]),
    Case("login: nobody", [with_headers(CREATE, login("nobody", "x"))]),
    Case("login: empty name", [with_headers(CREATE, login("", ""))]),
    Case("login: name in capitals", [with_headers(CREATE, login("ANN", USERS["ann"]))]),
    Case("login: no colon", [with_headers(CREATE, ("Authorization", "Basic YW5u"))]),
    Case("login: no base64", [with_headers(CREATE, ("Authorization", "Basic !!!"))]),
    Case("login: another scheme", [with_headers(CREATE, ("Authorization", "Bearer YW5u"))]),
    Case("login: scheme in small letters", [with_headers(CREATE, (ANN[0], ANN[1].replace("Basic", "basic")))]),
    Case("login: none for a bad path", [Ask("GET", "R/../../x")]),
    Case("login: none for a wrong method", [Ask("PUT", "R/config", b"")]),
    Case("login: header of a proxy", [with_headers(CREATE, ("X-Forwarded-User", "ann"))]),
]

PRIVATE = [
    Case("private: own folder", [Ask("POST", "/ann/?create=true", headers=[ANN])]),
    Case("private: folder in one's own", [Ask("POST", "/ann/R/?create=true", headers=[ANN])]),
    Case("private: another's", [Ask("POST", "/bob/?create=true", headers=[ANN])]),
    Case("private: in another's", [Ask("GET", "/bob/R/config", headers=[ANN])]),
    Case("private: nobody's", [with_headers(CREATE, ANN)]),
    Case("private: name that only begins so", [Ask("POST", "/annabel/?create=true", headers=[ANN])]),
    Case("private: root", [Ask("GET", "/config", headers=[ANN])]),
    Case("private: create at the root", [Ask("POST", "/?create=true", headers=[ANN])]),
    Case("private: back out by escaped dots", [Ask("GET", "/ann/%2e%2e/bob/config", headers=[ANN])]),
    Case("private: name in capitals", [Ask("POST", "/ANN/?create=true", headers=[ANN])]),
    Case("private: own name escaped", [Ask("POST", "/%61nn/?create=true", headers=[ANN])]),
    Case("private: no login", [Ask("POST", "/ann/?create=true")]),
]

PROXY = [
    Case("proxy: user", [with_headers(CREATE, ("X-Forwarded-User", "ann"))]),
    Case("proxy: none", [CREATE]),
    Case("proxy: empty", [with_headers(CREATE, ("X-Forwarded-User", ""))]),
    Case("proxy: password", [with_headers(CREATE, ANN)]),
    Case("proxy: private folder", [Ask("POST", "/ann/?create=true", headers=[("x-forwarded-user", "ann")])]),
    Case("proxy: another's folder", [Ask("POST", "/bob/?create=true", headers=[("X-Forwarded-User", "ann")])]),
]

LARGE = bytes(3_000_000)
LARGE_ID = hashlib.sha256(LARGE).hexdigest()
MAX_SIZE = [
    Case("max-size: small file", [POST]),
    Case("max-size: too large by its length", [Ask("POST", f"R/data/{LARGE_ID}", LARGE)]),
    Case("max-size: too large in chunks", [Ask("POST", f"R/data/{LARGE_ID}", chunked(LARGE), [CHUNKED])]),
    Case("max-size: room again", [POST, DELETE, POST]),
    Case("max-size: large config", [Ask("POST", "R/config", LARGE)]),
]

UNVERIFIED = [
    Case("no-verify-upload: another hash", [Ask("POST", POST.target, OTHER), GET]),
    Case("no-verify-upload: right hash", [POST, GET]),
]

METRICS = [
    Case("metrics: no login", [Ask("GET", "/metrics")]),
    Case("metrics: another user's", [Ask("GET", "/metrics", headers=[ANN])]),
]

SETTINGS = [
    Setting("plain", [], PLAIN),
    Setting("append-only", ["--append-only"], APPEND_ONLY),
    Setting("users", [], LOGINS, USERS),
    Setting("private", ["--private-repos"], PRIVATE, USERS),
    Setting("proxy", ["--proxy-auth-username", "X-Forwarded-User", "--private-repos"], PROXY, USERS),
    Setting("max-size", ["--max-size", "2500000"], MAX_SIZE),
    Setting("unverified", ["--no-verify-upload"], UNVERIFIED),
    Setting("metrics", ["--private-repos", "--prometheus"], METRICS, USERS),
]

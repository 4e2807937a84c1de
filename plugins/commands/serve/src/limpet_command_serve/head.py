"""The head of a request, checked as strictly as HTTP allows, and the head of an answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h11

MOST_HEAD_BYTES = 8 * 1024
"""As nginx and Apache take; thousands of clients may each hold one that never ends, for half a minute."""
MOST_REASON_BYTES = 300

_PHRASES = {
    100: "Continue",
    200: "OK",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}
_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\n[ \t]")
_LENGTH = re.compile(r"[0-9]{1,18}")
_PLAIN = re.compile(
    rb"(GET|HEAD|POST|DELETE) (/[!-~]*) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z][A-Za-z0-9-]*+: [!-~]++(?: [!-~]++)*+\r\n)++)\r\n"
)
_NOT_PLAIN = frozenset({"expect", "upgrade"})
_ALONE = ("host", "content-length", "transfer-encoding", "authorization", "content-range", "expect")
"""Headers that must not come twice: proxies and servers have been played off against each other by that."""
_LISTS = frozenset({"x-forwarded-for"})
"""Several lines of these are one list (RFC 9110, section 5.3): HAProxy adds its line behind those of the client."""


class BadRequestError(Exception):
    """The head is none, or says things that contradict each other."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body."""

    method: str
    target: str = field(repr=False)
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    http_version: str
    size_bytes: int | None
    """Of the body; None where it comes in chunks."""
    keeps_connection: bool
    wants_continue: bool


def find_head_end(data: bytes) -> int:
    """Where the head ends that the data begin with, 0 if they do not have its end yet.

    BadRequestError where its lines do not end as HTTP has it or are folded, which h11 would take: who reads a request
    before us may read it otherwise.
    """
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    if _BARE.search(head):
        raise BadRequestError("a line of the head is not ended by CR and LF, or is folded")
    if len(head) > MOST_HEAD_BYTES:
        raise BadRequestError(f"the head is longer than {MOST_HEAD_BYTES} bytes", 431)
    return end + 4 if end >= 0 else 0


def parse_plain_head(data: bytes) -> tuple[Head, bytes] | None:
    """The head that the data begin with, and what comes behind it, for a sixth of h11's time.

    None for every head that is not of the one shape which all readers of HTTP take alike: whole, no header twice, none
    folded, nothing but printable ASCII and single blanks, nothing that could contradict itself.
    """
    match = _PLAIN.match(data)
    if match is None or match.end() > MOST_HEAD_BYTES:
        return None
    lines = match[3].decode("ascii").split("\r\n")[:-1]
    headers = {name.lower(): value for name, _, value in [line.partition(": ") for line in lines]}
    if len(headers) < len(lines) or "host" not in headers or not _NOT_PLAIN.isdisjoint(headers):
        return None
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    is_sized = coding is None and (length is None or _LENGTH.fullmatch(length))
    is_chunked = coding == "chunked" and length is None
    connection = headers.get("connection", "keep-alive")
    if not (is_sized or is_chunked) or connection not in {"keep-alive", "close"}:
        return None
    target = match[2]
    path, query = _split_target(target)
    head = Head(
        match[1].decode("ascii"),
        target.decode("ascii"),
        path,
        query,
        headers,
        "1.1",
        size_bytes=None if is_chunked else int(length or 0),
        keeps_connection=connection != "close",
        wants_continue=False,
    )
    return head, data[match.end() :]


def parse_head(data: bytes, alone: str | None = None) -> Head:
    """A whole head of any shape, read by h11. BadRequestError where it makes no sense; `alone` is one more header that
    may come once.
    """
    event = _parsed(data)
    target = event.target
    path, query = _split_target(target)
    version = event.http_version.decode("ascii")
    headers = _headers(event.headers, {*_ALONE, *([alone.lower()] if alone else [])})
    size_bytes = _body_size(headers, version)
    expected = headers.get("expect", "").lower()
    if expected not in {"", "100-continue"}:
        raise BadRequestError("this server knows no such expectation", 417)
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    return Head(
        event.method.decode("ascii"),
        target.decode("latin-1"),
        path,
        query,
        headers,
        version,
        size_bytes,
        keeps_connection=version == "1.1" and "close" not in tokens,
        wants_continue=expected == "100-continue" and version == "1.1",
    )


def encode_head(status: int, headers: Iterable[tuple[str, str]], reason: str = "") -> bytes:
    """The head of an answer; the reason is said behind what the status means."""
    lines = [f"HTTP/1.1 {status} {phrase(status)}{_told(reason) if reason else ''}"]
    for name, value in headers:
        if not value.isprintable():
            raise ValueError(f"header {name} holds what no header may")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _told(reason: str) -> str:
    told = "".join(letter for letter in reason if letter.isascii() and letter.isprintable())[:MOST_REASON_BYTES]
    return f": {told}" if told else ""


def phrase(status: int) -> str:
    """What a status means, in words."""
    return _PHRASES.get(status, "Unknown")


def decode_escapes(text: bytes) -> str:
    """The bytes with `%xx` decoded, as a path of the file system would be; BadRequestError for half an escape."""
    if b"%" in text:
        if _ESCAPE.search(text):
            raise BadRequestError("the path has an escape that is none")
        text = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), text)
    return text.decode("utf-8", "surrogateescape")


def wants_creation(query: str) -> bool:
    """Whether the parameters have `create=true`, the first `create` being the one that counts."""
    for part in query.split("&"):
        name, _, value = part.partition("=")
        try:
            if decode_escapes(name.replace("+", " ").encode("latin-1")) == "create":
                return decode_escapes(value.replace("+", " ").encode("latin-1")) == "true"
        except BadRequestError:
            continue
    return False


def _parsed(data: bytes) -> h11.Request:
    import h11  # noqa: PLC0415  # most clients' heads are plain ones, and it takes 1 MB

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
    try:
        connection.receive_data(data)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise BadRequestError(str(error), error.error_status_hint) from error
    if not isinstance(event, h11.Request):
        raise BadRequestError("this is no request")
    return event


def _split_target(target: bytes) -> tuple[str, str]:
    if target == b"*":
        return "*", ""
    if not target.startswith(b"/"):
        target = _path_of_url(target)
    path, _, query = target.partition(b"?")
    return decode_escapes(path), query.decode("latin-1")


def _path_of_url(target: bytes) -> bytes:
    if target.lower().startswith((b"http://", b"https://")):
        _, _, rest = target.partition(b"//")
        _, slash, path = rest.partition(b"/")
        if slash:
            return slash + path
    raise BadRequestError("the target of the request is no path")


def _headers(pairs: Iterable[tuple[bytes, bytes]], alone: Collection[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.decode("ascii")
        if key not in headers:
            headers[key] = value.decode("latin-1")
        elif key in alone:
            raise BadRequestError(f"the header {key} comes more than once")
        elif key in _LISTS:
            headers[key] += ", " + value.decode("latin-1")
    return headers


def _body_size(headers: Mapping[str, str], version: str) -> int | None:
    encoding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if encoding is None:
        if length is not None and not _LENGTH.fullmatch(length):
            raise BadRequestError("content-length is no number")
        return int(length or 0)
    if length is not None or version != "1.1":
        raise BadRequestError("a body comes either in chunks or with its length")
    if encoding.lower() != "chunked":
        raise BadRequestError("no other transfer-encoding than chunked is known", 501)
    return None

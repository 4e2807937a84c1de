"""The quick way through the head of a request: it takes less than h11 does, and nothing differently."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet_command_serve.head import BadRequestError, Head, find_head_end, parse_head, parse_plain_head

HOST = b"Host: a\r\n"
LINES = [
    HOST,
    b"host: b\r\n",
    b"Range: bytes=0-9\r\n",
    b"Accept:  two\r\n",
    b"A: b c\r\n",
    b"A:\r\n",
    b"A : b\r\n",
    b" b\r\n",
    b"B: \xff\r\n",
    b"C: d\n",
    b"D: e\r",
    b"Content-Length: 1\r\n",
    b"Content-Length: +1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
]
STARTS = [
    b"GET /a/config HTTP/1.1\r\n",
    b"GET /a%2fb?c=%20 HTTP/1.1\r\n",
    b"DELETE /keys/x HTTP/1.1\r\n",
    b"HEAD / HTTP/1.0\r\n",
    b"GET http://a/config HTTP/1.1\r\n",
    b"GET  / HTTP/1.1\r\n",
    b"POST /config HTTP/1.1\r\n",
    b"get / HTTP/1.1\r\n",
]


@settings(max_examples=500)
@given(st.sampled_from(STARTS), st.lists(st.sampled_from(LINES), max_size=4), st.binary(max_size=3))
def test_what_it_takes_h11_takes_alike(start: bytes, lines: list[bytes], behind: bytes) -> None:
    """Two readings of one head are how requests are smuggled: the quick one is never another one."""
    data = start + b"".join(lines) + b"\r\n"
    plain = parse_plain_head(data + behind)
    if plain is not None:
        assert plain == (_by_h11(data), behind)


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        HOST + HOST,
        HOST + b"Content-Length: x\r\n",
        HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n",
        HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_what_is_not_plain_is_left_to_h11(headers: bytes) -> None:
    """No host, one twice, a body of no clear size: what there is to decide about those is decided in one place."""
    assert parse_plain_head(b"POST /config HTTP/1.1\r\n" + headers + b"\r\n") is None


@pytest.mark.parametrize(
    "line", [b"GET /r/data/ab", b"HEAD /r/config", b"POST /r/?create=true", b"DELETE /r/locks/ab", b"GET /r/keys/"]
)
def test_restics_requests_are_plain(line: bytes) -> None:
    """The quick way is there for these: it would be of no use if they went the long one."""
    restic = b"Host: a:8000\r\nUser-Agent: Go-http-client/1.1\r\nAccept: application/vnd.x.restic.rest.v2\r\n"
    head = line + b" HTTP/1.1\r\n" + restic + b"\r\n"
    assert parse_plain_head(head) == (_by_h11(head), b"")
    assert [parse_plain_head(head[:length]) for length in range(len(head))] == [None] * len(head)


def _by_h11(data: bytes) -> Head:
    assert find_head_end(data) == len(data)
    return parse_head(data)


def test_what_is_no_request() -> None:
    """An empty line, or an answer: the client is told, for it would wait for ever."""
    for data in (b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"):
        with pytest.raises(BadRequestError):
            parse_head(data)

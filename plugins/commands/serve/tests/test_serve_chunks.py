"""Bodies in chunks: taken apart as h11 does, but for what other readers could take otherwise."""

from __future__ import annotations

import socket

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet_command_serve.body import MOST_LINE_BYTES, BrokenBodyError, ChunkedBody
from limpet_command_serve.channel import PlainChannel, WouldBlock

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
PARTS = [
    b"0",
    b"1",
    b"3",
    b"03",
    b"A",
    b";a=b",
    b" ",
    b"\t",
    b"\r\n",
    b"\r",
    b"\n",
    b"abc",
    b"a",
    b"x: y",
    b"-",
    b"\xff",
]
WHOLE = [b"3\r\nabc\r\n", b"a;b=c\r\n0123456789\r\n", b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0\r\n"]


def read(data: bytes, first_bytes: int = 0) -> tuple[bytes, bytes]:
    """The body and what is behind it; so many bytes have come with the head. BrokenBodyError also if it has no end."""
    ours, peer = socket.socketpair()
    with ours, peer:
        ours.setblocking(False)
        body = ChunkedBody(PlainChannel(ours), data[:first_bytes])
        buffer = memoryview(bytearray(7))
        pieces, sent = [], first_bytes
        while not body.is_complete:
            try:
                pieces.append(bytes(body.read(buffer)))
            except WouldBlock:
                if sent < len(data):
                    sent += peer.send(data[sent : sent + 1])
                else:
                    peer.shutdown(socket.SHUT_WR)
        return b"".join(pieces), body.rest + data[sent:]


def read_by_h11(data: bytes) -> bytes:
    """The body; BrokenBodyError as in `read`."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(HEAD)
    assert isinstance(connection.next_event(), h11.Request)
    connection.receive_data(data)
    pieces = []
    try:
        while isinstance(event := connection.next_event(), h11.Data):
            pieces.append(event.data)
    except h11.RemoteProtocolError as error:
        raise BrokenBodyError from error
    if not isinstance(event, h11.EndOfMessage):
        raise BrokenBodyError
    return b"".join(pieces)


@settings(max_examples=400)
@given(st.lists(st.sampled_from([*WHOLE, *WHOLE, *PARTS]), max_size=8), st.integers(0, 40))
def test_what_it_takes_h11_takes_alike(parts: list[bytes], first_bytes: int) -> None:
    """Two readings of one body are how requests are smuggled: ours is refused rather than another one."""
    data = b"".join(parts)
    try:
        ours = read(data, first_bytes)
    except BrokenBodyError:
        return
    assert ours[0] == read_by_h11(data)


@settings(max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), st.binary(max_size=9), st.integers(0, 99))
def test_bodies_arrive(pieces: list[bytes], behind: bytes, first_bytes: int) -> None:
    """Whatever the network cuts it into, a body comes as it was sent, and the next request is left where it is."""
    data = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n" + behind
    assert read(data, first_bytes) == (b"".join(pieces), behind)


@pytest.mark.parametrize(
    "data",
    [
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3\r\r\nabc\r\n0\r\n\r\n",
        b"3 ;a=b\r\nabc\r\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"0\r\nno header\r\n\r\n",
        b"0\r\nx: a\rb\r\n\r\n",
        b"0\r\n" + b"x: y\r\n" * MOST_LINE_BYTES + b"\r\n",
        b"0" * (2 * MOST_LINE_BYTES),
        b"3\r\nabc\r\n",
        b"3\r\nab",
        b"10000000000000000\r\n",
    ],
)
def test_what_could_be_read_otherwise(data: bytes) -> None:
    """A proxy that ends a line at CR alone sees another body, and what is hidden in it as the next request."""
    with pytest.raises(BrokenBodyError):
        read(data)

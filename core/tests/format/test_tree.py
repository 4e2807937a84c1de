"""Trees: order, streaming, the check before a rewrite, and damage."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limpet.contracts.source import MadeStat
from limpet.errors import IntegrityError
from limpet.format.gojson import quote_name
from limpet.format.node import Node, NodeType, encode_node, node_json
from limpet.format.tree import (
    decode_tree,
    decode_tree_fields,
    encode_nodes,
    encode_tree,
    iter_tree,
    reencodes,
)
from limpet.ids import BlobId

STATUS = MadeStat(0o100644, 1_700_000_000_123_000_000, st_size=10, st_ino=77)


def tree_of(names: list[bytes], xattrs: list[tuple[bytes, bytes]] | None = None) -> bytes:
    """A tree of files with these names."""
    return encode_tree(
        node_json(quote_name(name), STATUS, user="u", group="g", content=[bytes(32)], xattrs=xattrs or [])
        for name in names
    )


SMALL = tree_of([b"a", b"b\n\xff", "\u00fc\u2028".encode()], [(b"user.x", b"1"), (b"user.y", b"")])


def test_the_document() -> None:
    """The newline is part of the hashed bytes."""
    assert encode_tree([]) == b'{"nodes":[]}\n'
    assert encode_tree([b"{}", b"{}"]) == b'{"nodes":[{},{}]}\n'
    assert decode_tree(b'{"nodes":[]}\n') == []


@settings(max_examples=50)
@given(st.sets(st.binary(min_size=1, max_size=12), max_size=8))
def test_round_trip(names: set[bytes]) -> None:
    """A folder comes back with the names that it had, in the order of their bytes."""
    ascending = sorted(names)
    data = tree_of(ascending)
    nodes = decode_tree(data)
    assert [node.name for node in nodes] == ascending
    assert encode_nodes(nodes) == data
    assert reencodes(data)
    assert len(decode_tree_fields(data)) == len(ascending)


def test_order_is_insisted_on() -> None:
    """restic looks names up by their order: a tree out of order loses files there."""
    a, b = (Node(name, NodeType.FILE, content=[]) for name in (b"a", b"b"))
    for wrong in ([b, a], [a, a], [Node(b"", NodeType.FILE)]):
        with pytest.raises(IntegrityError):
            encode_nodes(wrong)
        assert not reencodes(encode_tree(map(encode_node, wrong)))
    assert decode_tree(tree_of([b"b", b"a"]))[0].name == b"b"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"links":1', b'"links":0'), (b'"uid":0', b'"uid": 0'), (b"]}\n", b"]}"), (b"]}\n", b'],"x":1}\n'),
        (b'{"nodes"', b'{"x":1,"nodes"'), (b".123", b".1230"), (b'"value":""', b'"value":"","x":1'),
        (b'"gid":0', b'"gid":0,"x-unknown":1'), (b'"user":"u"', b'"user":"\\u0075"'), (b'"value":""', b'"value":null'),
        (b'"type":"file"', b'"type":"filet"'),
    ],
)  # fmt: skip
def test_trees_that_must_not_be_rewritten(old: bytes, new: bytes) -> None:
    """Rewriting what is not understood to the last byte would lose something without a word."""
    changed = SMALL.replace(old, new)
    assert changed != SMALL
    assert not reencodes(changed)
    assert len(decode_tree(changed)) == 3


def test_unknown_fields_survive() -> None:
    """Another program's fields are not ours to drop."""
    last_of_node = b'"%b"]' % bytes(32).hex().encode()
    unknown = b',"x":{"b":[1,null,"<"],"a":18446744073709551615}'
    data = SMALL.replace(b"]}\n", b'],"ignored":{"nodes":[]}}\n').replace(last_of_node, last_of_node + unknown)
    nodes = decode_tree(data)
    assert nodes[0].extra == {"x": {"b": [1, None, "<"], "a": 2**64 - 1}}
    again = encode_nodes(nodes)
    assert b',"x":{"b":[1,null,"\\u003c"],"a":18446744073709551615}}' in again
    assert reencodes(again)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"{}", b'{"nodes":null}', b'{"nodes":{}}', b'{"nodes":[1]}', b'{"nodes":[null]}',
        b'{"nodes":[]}x', b'{"nodes":[{"name":"\\ud800"}]}', b'{"nodes":[{"name":"\xff"}]}',
        b'{"nodes":' + b"[" * 100_000, b'{"nodes":[{"size":' + b"9" * 5000 + b"}]}", b'{"nodes":[{"size":1e999}]}',
        b'{"nodes":[{"x":' + b'{"x":' * 5000,
    ],
)  # fmt: skip
def test_what_is_no_tree(data: bytes) -> None:
    """Damage ends in the one documented error, never in a crash."""
    with pytest.raises(IntegrityError):
        decode_tree(data)
    assert not reencodes(data)


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, len(SMALL)), st.integers(0, 60))
def test_damaged_bytes(damage: bytes, position: int, dropped: int) -> None:
    """Whatever the bytes, reading ends in nodes or in the documented error."""
    data = SMALL[:position] + damage + SMALL[position + dropped :]
    try:
        nodes = decode_tree(data)
    except IntegrityError:
        assert not reencodes(data)
        return
    assert not reencodes(data) or encode_nodes(nodes) == data


@settings(max_examples=300)
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 7))
def test_flipped_bits(position: int, bit: int) -> None:
    """A single bit is the usual damage."""
    data = bytearray(SMALL)
    data[position] ^= 1 << bit
    try:
        nodes = decode_tree(data)
    except IntegrityError:
        assert not reencodes(data)
        return
    assert not reencodes(data) or encode_nodes(nodes) == bytes(data)


def big_tree(count: int) -> tuple[list[bytes], bytes]:
    """A tree of several MiB with names that look like JSON and with attributes between the nodes' borders."""
    names = [b'%08d},{"name":"x","type":"y"' % number for number in range(count)]
    attributes = [(b'a},{"name":"b","type":"c"', b"1"), (b"user.b", b"2"), (b"user.c", b"3")]
    return names, tree_of(names, attributes)


def test_a_huge_tree_is_streamed() -> None:
    """Folders of millions of entries exist (restic issue 3650): reading one must not take many times its size."""
    names, data = big_tree(20_000)
    assert len(data) > 6 << 20
    assert [node.name for node in iter_tree(data)] == names
    tracemalloc.start()
    count = 0
    first_peak = 0
    for _ in iter_tree(data):
        count += 1
        if count == 5_000:
            first_peak = tracemalloc.get_traced_memory()[1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == len(names)
    assert peak < 1.5 * first_peak + (2 << 20)


def test_damage_in_a_huge_tree() -> None:
    """Damage late in a huge tree is found, and what came before it is still read."""
    _, data = big_tree(20_000)
    assert reencodes(data)
    for position in random.Random(1).sample(range(len(data)), 3):
        cut = data[:position]
        nodes: list[Node] = []
        with pytest.raises(IntegrityError):
            nodes.extend(iter_tree(cut))
        assert len(nodes) * 300 > position - (8 << 20)
        assert not reencodes(cut)


def test_borders_inside_unknown_fields_of_a_huge_tree() -> None:
    """A field from the future may look like nodes inside; it must not split a node."""
    inner = b",".join(b'{"name":"%d","type":"z"}' % number for number in range(150_000))
    head = SMALL.index(b"}]}\n")
    data = SMALL[:head] + b',"versions":[' + inner + b"]" + SMALL[head:]
    nodes = decode_tree(data)
    assert [node.name for node in nodes] == [node.name for node in decode_tree(SMALL)]
    versions = nodes[-1].extra["versions"]
    assert isinstance(versions, list)
    assert len(versions) == 150_000


def test_ids_are_bytes() -> None:
    """Everything above works with raw ids."""
    assert decode_tree(SMALL)[0].content == [BlobId(bytes(32))]

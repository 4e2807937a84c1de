"""A Redis server's content with one of everything, and all that is in one, to compare two of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.services.redis_server import RedisServer

LARGE_BYTES = 3_000_000
FUNCTION = "#!lua name=shop\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)"


def fill(server: RedisServer, rows: int = 2000) -> None:
    """Every type in the encodings of few and of many members, binary names and values, limits of time, databases."""
    client = server.client()
    client.mset(
        {"number": 12345678901, "": "empty name", "empty": "", "ü 世界 🐚": "Grüße", b"\x00\xff\r\n\x00": b"\0" * 9}
    )
    client.set("large", bytes(range(256)) * (LARGE_BYTES // 256))
    client.rpush("list", "a", b"\xff\x00", "", *range(100))
    client.rpush("long list", *(f"member {number}" for number in range(rows)))
    client.sadd("numbers", *range(-5, 5))
    client.sadd("words", "a", "ü", b"\xfe", *(f"word {number}" for number in range(rows)))
    client.zadd("scores", {"low": float("-inf"), "high": float("inf"), "mid": 1.1, "tiny": 5e-324})
    client.zadd("many scores", {f"m{number}": number / 7 for number in range(rows)})
    client.hset("hash", mapping={"a": "1", b"\xff": b"\x00", "": "empty"})
    client.hset("large hash", mapping={f"f{number}": "x" * (number % 90) for number in range(rows)})
    client.pfadd("guess", *range(1000))
    client.geoadd("places", (13.361389, 38.115556, "Palermo"))
    client.setbit("bits", 100_000, 1)
    for number in range(300):
        client.xadd("stream", {"n": number, "b": b"\xff"})
    client.xgroup_create("stream", "readers", "0")
    client.xreadgroup("readers", "anna", {"stream": ">"}, count=10)
    client.xack("stream", "readers", client.xrange("stream", count=1)[0][0])
    later_ms = int(time.time() * 1000) + 3_600_000
    client.set("soon", "gone", pxat=later_ms)
    client.pexpireat("hash", later_ms + 12_345)
    client.function_load(FUNCTION, replace=True)
    with client.pipeline(transaction=False) as pipeline:
        for number in range(rows):
            pipeline.set(f"row:{number}", f"value {number}" * 3, ex=100_000 + number if number % 5 == 0 else None)
        pipeline.execute()
    server.client(9).set("in database 9", "x")
    server.client(15).rpush("list", "in database 15")


def contents(server: RedisServer) -> dict[tuple[int, bytes], Any]:
    """Each key of each database with its type, its value and when it expires; under (-1, b"") the functions."""
    found: dict[tuple[int, bytes], Any] = {(-1, b""): server.client().function_list(withcode=True)}
    for name in server.client().info("keyspace"):
        number = int(name.removeprefix("db"))
        client = server.client(number)
        for key in client.scan_iter(count=1000):
            kind = client.type(key).decode()
            found[number, key] = (kind, value(client, key, kind), client.pexpiretime(key))
    return found


def value(client: Any, key: bytes, kind: str) -> Any:
    """What is stored there, in an order that does not change."""
    match kind:
        case "string":
            return client.get(key)
        case "list":
            return client.lrange(key, 0, -1)
        case "set":
            return sorted(client.smembers(key))
        case "zset":
            return client.zrange(key, 0, -1, withscores=True)
        case "hash":
            return client.hgetall(key)
        case "stream":
            return client.xrange(key), client.xpending(key, "readers"), client.xinfo_groups(key)
    raise AssertionError(kind)


def started_from(rdb: bytes, folder: Path) -> RedisServer:
    """A server that begins with the content of the file, as one that is restored by hand."""
    folder.mkdir()
    (folder / "dump.rdb").write_bytes(rdb)
    return RedisServer(folder, dbfilename="dump.rdb")

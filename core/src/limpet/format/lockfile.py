"""Lock files: who works with the repository, since when, and whether alone."""

from __future__ import annotations

from dataclasses import dataclass

from limpet.format import Buffer
from limpet.format.gojson import json_string
from limpet.format.jsonobject import JsonObject
from limpet.format.timestamps import Time, format_time, parse_time

_U32_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class LockFile:
    """A lock and the process that holds it; `time` is when it was last refreshed. uid and gid are 0 where unknown."""

    time: Time
    exclusive: bool
    hostname: str
    username: str
    pid: int
    uid: int = 0
    gid: int = 0


def encode_lockfile(lock: LockFile) -> bytes:
    """The JSON as restic writes it; uid and gid only where they are not 0."""
    return b'{"time":"%b","exclusive":%b,"hostname":%b,"username":%b,"pid":%d%b%b}' % (
        format_time(lock.time.ns, lock.time.offset_s).encode("ascii"),
        b"true" if lock.exclusive else b"false",
        json_string(lock.hostname),
        json_string(lock.username),
        lock.pid,
        b',"uid":%d' % lock.uid if lock.uid else b"",
        b',"gid":%d' % lock.gid if lock.gid else b"",
    )


def decode_lockfile(json: Buffer) -> LockFile:
    """The lock; IntegrityError for anything malformed. Fields that Limpet does not know are ignored."""
    fields = JsonObject.parse(json, "lock")
    return LockFile(
        time=parse_time(fields.text("time")),
        exclusive=fields.boolean("exclusive"),
        hostname=fields.text("hostname"),
        username=fields.text("username"),
        pid=fields.integer("pid"),
        uid=fields.integer("uid", 0, most=_U32_MAX),
        gid=fields.integer("gid", 0, most=_U32_MAX),
    )

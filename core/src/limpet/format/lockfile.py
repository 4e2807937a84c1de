"""Lock files: who works with the repository, since when, and whether alone."""

from __future__ import annotations

from dataclasses import dataclass

from limpet.format import Buffer
from limpet.format import fields as read
from limpet.format.gojson import JsonValue, json_value
from limpet.format.timestamps import Time, format_time


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
    fields: dict[str, JsonValue] = {
        "time": format_time(*lock.time),
        "exclusive": lock.exclusive,
        "hostname": lock.hostname,
        "username": lock.username,
        "pid": lock.pid,
    }
    fields |= {name: number for name, number in (("uid", lock.uid), ("gid", lock.gid)) if number}
    return json_value(fields)


def decode_lockfile(json: Buffer) -> LockFile:
    """The lock; IntegrityError for anything malformed. Fields that Limpet does not know are ignored."""
    fields = read.decode_object(json, "a lock")
    return LockFile(
        time=read.time(fields, "time"),
        exclusive=read.boolean(fields, "exclusive"),
        hostname=read.string(fields, "hostname"),
        username=read.string(fields, "username"),
        pid=read.uint(fields, "pid"),
        uid=read.uint(fields, "uid", read.UINT32),
        gid=read.uint(fields, "gid", read.UINT32),
    )

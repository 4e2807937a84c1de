"""Contents that are saved to a store under test, and the names that they are saved under."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from limpet.contracts.backend import Backend, Content, FileKind, Handle

LISTED_KINDS = tuple(kind for kind in FileKind if kind is not FileKind.CONFIG)
MIB = 1 << 20


def content_of(data: bytes) -> Content:
    """The content to save for these bytes."""
    return Content(memoryview(data), hashlib.sha256(data).digest())


def handle_of(data: bytes, kind: FileKind = FileKind.PACK) -> Handle:
    """The handle that a repository saves these bytes under."""
    return Handle(kind, hashlib.sha256(data).hexdigest())


def some_bytes(size_bytes: int, seed: int = 0) -> bytes:
    """Random bytes, the same for the same size and seed."""
    return random.Random(size_bytes * 1000 + seed).randbytes(size_bytes)


def save_all(backend: Backend, kind: FileKind, contents: Sequence[bytes]) -> list[Handle]:
    """Save each of the contents under its own hash; the handles."""
    handles = [handle_of(data, kind) for data in contents]
    for handle, data in zip(handles, contents, strict=True):
        backend.save(handle, content_of(data))
    return handles


def large_content(size_bytes: int) -> tuple[bytearray, Handle]:
    """Content of which no two MiB are the same, made quickly and held once; its handle."""
    data = bytearray(size_bytes)
    block = some_bytes(MIB)
    for start in range(0, size_bytes, MIB):
        end = min(start + MIB, size_bytes)
        data[start:end] = block[: end - start]
        data[start : start + 8] = start.to_bytes(8, "big")
    return data, Handle(FileKind.PACK, hashlib.sha256(data).hexdigest())

"""SHA-256 of a stream: our own code where it was built, for OpenSSL's library costs a small server 3 MB."""

from __future__ import annotations

from typing import Protocol


class Digest(Protocol):
    """The SHA-256 of what it is fed."""

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The 32 bytes."""


def sha256() -> Digest:
    """A fresh one."""
    try:
        from limpet.format._native import Sha256  # noqa: PLC0415  # see the module
    except ImportError:
        import hashlib  # noqa: PLC0415  # see the module

        return hashlib.sha256()
    digest: Digest = Sha256()
    return digest

"""Saves one source into a repository in memory and prints what each file of the snapshot holds, read back.

usage: round_trip.py SCHEME ARGUMENT...   SCHEME is an installed source's, or `own` for the one in this file
"""

from __future__ import annotations

import io
import stat
import sys
import time
from collections.abc import Sequence
from typing import Self

from limpet import registry
from limpet.contracts.source import Entry, MadeStat, Source, SourceRequest, Target
from limpet.format.kdf import KdfParameters
from limpet.format.pack import BlobKind
from limpet.operations.backup.options import BackupOptions
from limpet.operations.backup.run import backup
from limpet.operations.walk import walk
from limpet.repository.repository import Repository
from limpet.storage.memory import MemoryBackend

CHEAP = KdfParameters(n=1024, r=8, p=1, salt=bytes(64))


class OwnSource(Source):
    """One made file that holds its argument."""

    has_parent = False

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        return cls(*request.targets)

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return ["/own"]

    def targets(self) -> Sequence[Target]:
        content = self.text.encode()
        status = MadeStat(stat.S_IFREG | 0o600, time.time_ns(), len(content))
        return [Target(b"/own", Entry(b"own", status, stream=lambda: io.BytesIO(content), made=True))]

    def close(self) -> None:
        """Nothing is held."""


def main(scheme: str, *arguments: str) -> None:
    """Back up, read back, print."""
    if scheme == "own":
        source: Source = OwnSource.open(SourceRequest(arguments))
    else:
        source = registry.source(scheme).open(SourceRequest(arguments, registry.source_options(scheme)))
    with Repository.create(MemoryBackend(), "secret", kdf=CHEAP) as repository:
        saved = backup(repository, [source], BackupOptions(hostname="here", time_ns=time.time_ns()))
        source.close()
        assert saved.snapshot is not None
        for path, node in walk(repository, saved.tree):
            if node.content is not None:
                content = b"".join(repository.load_blob(BlobKind.DATA, blob_id) for blob_id in node.content)
                print(path.decode(), content.decode())


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What a folder holds, and what all folders can be asked: views and folders of snapshots alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from limpet.format.node import Node
from limpet.ids import StorageId


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder. Views have a node, too: a folder that everybody may read, or the link `latest`.

    `folder` is what is in it, for folders alone; nothing of it is read before it is asked for.
    """

    name: bytes
    node: Node
    folder: Folder | None = None
    snapshot_id: StorageId | None = None
    """Of a folder that is the root of a snapshot."""


class Folder(ABC):
    """The entries of one folder. Thread-safe; calls may read from the storage, and wait for it.

    LimpetError (IntegrityError, BackendError, RepositoryError) where what it holds cannot be read.
    """

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """All entries; those of a snapshot's folder in the order in which they are stored."""

    @abstractmethod
    def lookup(self, name: bytes) -> Entry | None:
        """The entry of that name, None if there is none."""

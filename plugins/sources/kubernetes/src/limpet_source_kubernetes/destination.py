"""`KubernetesDestination`: a volume of a snapshot goes into a claim, through a helper pod and `tar x`."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain
from stat import S_IFDIR, S_ISDIR, S_ISREG
from typing import Any, ClassVar, Self

from limpet.contracts.destination import Destination, DestinationRequest, StoredFile, StoredStatus
from limpet.errors import DestinationError, SourceError, UsageError

from limpet_source_kubernetes import archive_writer
from limpet_source_kubernetes.address import SCHEME, Address
from limpet_source_kubernetes.api import Cluster, NoObjectError, object_path
from limpet_source_kubernetes.container import Container
from limpet_source_kubernetes.kubeconfig import load_access
from limpet_source_kubernetes.remote import RemoteCommand
from limpet_source_kubernetes.scripts import look_argv, write_argv
from limpet_source_kubernetes.settings import Settings
from limpet_source_kubernetes.telling import Telling
from limpet_source_kubernetes.temporary import VOLUME_FOLDER, Temporaries

MIB = 1 << 20
BATCH_BYTES = 8 * MIB
"""Small files go into archives of that size, which are held in memory; a larger file is an archive of its own."""
_VOLUME = re.compile(rf"(/{SCHEME}/[^/]+/volumes/[^/]+)(/.*)?", re.DOTALL)


class KubernetesDestination(Destination):
    """A claim, which is made if there is none."""

    takes_trees: ClassVar[bool] = True

    def __init__(self, request: DestinationRequest, address: Address, settings: Settings) -> None:
        self._address = address
        self._settings = settings
        self._telling = Telling(request.reporter)
        self._cluster = Cluster(load_access(settings.kubeconfig, settings.context))
        self._temporaries = Temporaries(self._cluster, settings, self._telling)
        self._root = b""
        self._container: Container | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._folders: list[tuple[bytes, StoredStatus]] = []
        self._first_names: dict[tuple[int, int], bytes] = {}

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError for anything but a claim, or a kubeconfig that makes no sense."""
        address = Address.parse(request.place)
        if address.claim is None:
            raise UsageError(f"{address}: --into takes one claim: write --into {SCHEME}://NAMESPACE/CLAIM")
        return cls(request, address, Settings.of(request.options))

    def wanted(self, paths: Sequence[str]) -> Sequence[str]:
        """Everything of the one volume; UsageError where the snapshot has none, or more than one."""
        volumes = {match[1] for path in paths if (match := _VOLUME.fullmatch(path)) is not None}
        if len(volumes) != 1:
            found = ", ".join(sorted(volumes)) or "none"
            raise UsageError(
                f"one volume is restored into one claim, and the snapshot has: {found}; "
                f"name one as SNAPSHOT:/{SCHEME}/NAMESPACE/volumes/CLAIM"
            )
        (root,) = volumes
        self._root = os.fsencode(root)
        return [path for path in paths if path == root or path.startswith(root + "/")]

    def receive(self, file: StoredFile) -> None:
        """Take one name; small files are sent together with what follows."""
        assert file.status is not None, "asked for by takes_trees"
        name, status = os.fsencode(file.path)[len(self._root) + 1 :], file.status
        if S_ISDIR(status.mode):
            self._folders.append((name, status))
            # Open until all that is in it is there; mode, owner and time come last.
            self._add(archive_writer.header(name, replace(status, mode=S_IFDIR | 0o700)) or b"")
            return
        linked = None if status.hard_link_id is None else self._first_names.get(status.hard_link_id)
        head = archive_writer.header(name, status, file.size_bytes, linked)
        if head is None:
            self._telling.warning(f"{file.path}: not restored: neither file, folder, link nor fifo")
        elif linked is not None or not S_ISREG(status.mode):
            self._add(head)
        else:
            if status.hard_link_id is not None:
                self._first_names[status.hard_link_id] = name
            self._receive_content(file, head)

    def finish(self) -> None:
        """Send what still waits, and then how the folders are to be, the innermost first."""
        self._flush()
        for name, status in sorted(self._folders, key=lambda folder: folder[0].count(b"/"), reverse=True):
            self._add(archive_writer.header(name, status) or b"")
        self._flush()

    def close(self) -> None:
        self._temporaries.remove()
        self._cluster.close()

    def _receive_content(self, file: StoredFile, head: bytes) -> None:
        size_bytes = len(head) + file.size_bytes + archive_writer.padding(file.size_bytes)
        if size_bytes <= BATCH_BYTES:
            self._add(head + b"".join(_whole(file)))
            return
        self._flush()  # in order: a link comes after what it leads to
        self._send(size_bytes + len(archive_writer.END), chain([head], _whole(file), [archive_writer.END]))

    def _add(self, blocks: bytes) -> None:
        if self._pending_bytes + len(blocks) > BATCH_BYTES:
            self._flush()
        self._pending.append(blocks)
        self._pending_bytes += len(blocks)

    def _flush(self) -> None:
        if self._pending:
            pending, self._pending, self._pending_bytes = self._pending, [], 0
            archive = b"".join([*pending, archive_writer.END])
            self._send(len(archive), [archive])

    def _send(self, size_bytes: int, blocks: Iterable[bytes | memoryview]) -> None:
        """Have `tar` unpack an archive of that size; DestinationError if it does not, or nobody knows."""
        container = self._container or self._enter()
        try:
            with closing(
                container.run(write_argv(VOLUME_FOLDER, size_bytes), self._telling.warning, has_input=True)
            ) as command:
                ending = _Ending(command)
                with suppress(_NotTakenError):  # How it ended says why.
                    for data in blocks:
                        ending.feed(data)
                code = ending.wait()
        except SourceError as error:
            raise DestinationError(f"{self._address}: {error}") from error
        if code:
            said = f": {command.last_words}" if command.last_words else ""
            raise DestinationError(f"{self._address}: tar failed in {container}: exit status {code}{said}")

    def _enter(self) -> Container:
        """The helper pod, its claim made if there was none; DestinationError if that holds files."""
        namespace, claim = self._address.namespace, str(self._address.claim)
        try:
            self._temporaries.remove_leftovers(namespace)
            self._have_claim(namespace, claim)
            container = self._temporaries.helper(namespace, claim, is_read_only=False)
            with closing(container.run(look_argv(VOLUME_FOLDER))) as command:
                there = command.read()
                command.wait()
        except SourceError as error:
            raise DestinationError(f"{self._address}: {error}") from error
        if there and not self._settings.overwrite:
            raise DestinationError(
                f"{self._address}: the claim holds files already ({there.decode(errors='replace').strip()}); "
                f"name a new one, or allow it with -o kubernetes.overwrite=true"
            )
        self._container = container
        return container

    def _have_claim(self, namespace: str, claim: str) -> None:
        try:
            self._cluster.get(object_path("v1", namespace, "persistentvolumeclaims", claim))
        except NoObjectError as error:
            if self._settings.size_bytes is None:
                raise DestinationError(
                    f"{self._address}: there is no such claim: -o kubernetes.size=SIZE has one made"
                ) from error
        else:
            return
        spec: dict[str, Any] = {
            "accessModes": [self._settings.access_mode],
            "resources": {"requests": {"storage": str(self._settings.size_bytes)}},
        }
        if self._settings.storage_class is not None:
            spec["storageClassName"] = self._settings.storage_class
        metadata = {"name": claim, "namespace": namespace}
        body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
        self._cluster.create(object_path("v1", namespace, "persistentvolumeclaims"), body)


class _NotTakenError(Exception):
    """A command that is fed has ended, or its connection."""


class _Ending:
    """How a command ends, listened to while it is fed: it may complain, or end, before it was fed all."""

    def __init__(self, command: RemoteCommand) -> None:
        self._command = command
        self._code = 0
        self._problem: SourceError | None = SourceError(f"{command.what}: nobody knows how the command ended")
        self._listener = threading.Thread(target=self._listen, name="limpet-ending", daemon=True)
        self._listener.start()

    def feed(self, data: bytes | memoryview) -> None:
        """Pass on to the command what it is fed; _NotTakenError where it takes no more."""
        if not self._listener.is_alive():
            raise _NotTakenError
        try:
            self._command.feed(data)
        except SourceError as error:
            raise _NotTakenError from error

    def wait(self) -> int:
        """The exit code; SourceError if there is none."""
        self._listener.join()
        if self._problem is not None:
            raise self._problem
        return self._code

    def _listen(self) -> None:
        try:
            self._code, self._problem = self._command.wait(), None
        except SourceError as error:
            self._problem = error


def _whole(file: StoredFile) -> Iterator[bytes | memoryview]:
    """The content and what fills its last block; DestinationError if it is not as long as the header says."""
    size_bytes = 0
    for piece in file.pieces():
        size_bytes += piece.size_bytes
        if piece.data is not None:
            yield bytes(piece.data)
            continue
        for start in range(0, piece.size_bytes, MIB):
            yield bytes(min(MIB, piece.size_bytes - start))
    if size_bytes != file.size_bytes:
        raise DestinationError(f"{file.path}: the snapshot holds {size_bytes} bytes of {file.size_bytes}")
    yield bytes(archive_writer.padding(size_bytes))

"""`SwiftBackend`: restic's layout in a container of OpenStack Swift, each file one object."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from limpet.contracts.backend import CONFIG_HANDLE, Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError

from limpet_backend_swift.errors import BeyondEndError, NotInStoreError
from limpet_backend_swift.location import SwiftLocation, parse_location
from limpet_backend_swift.settings import OPTIONS, read_connections, read_credentials

if TYPE_CHECKING:
    from limpet_backend_swift.store import Answer, Store

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class SwiftBackend(Backend):
    """The objects of one repository. Swift puts an object in place in one step, also over another."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = OPTIONS
    page_entries: int | None = None
    """How much of a listing to ask for at once; None for as much as the server gives, mostly 10,000."""

    def __init__(self, place: SwiftLocation, store: Store, *, connections: int, container_policy: str | None) -> None:
        self.place = place
        self._store = store
        self._container_policy = container_policy
        self.properties = BackendProperties(connections=connections, atomic_replace=True)

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository at `CONTAINER:/PREFIX`; the first call that needs the server signs in."""
        place = parse_location(location)
        connections = read_connections(options)
        credentials = read_credentials(options)
        from limpet_backend_swift.store import Store  # noqa: PLC0415  # brings requests, swiftclient and keystoneauth1

        policy = options.get("container-policy")
        store = Store(place.container, credentials, connections, transport)
        return cls(place, store, connections=connections, container_policy=str(policy) if policy else None)

    @property
    def location(self) -> str:
        return str(self.place)

    def __repr__(self) -> str:
        return f"SwiftBackend({self.location!r})"

    def create(self) -> None:
        """Make the container unless it is there."""
        what = f"cannot make the container {self.place.container!r}"
        if not self._store.has_container(what):
            self._store.make_container(what, self._container_policy)

    def save(self, handle: Handle, content: Content) -> None:
        name = self.place.path(handle)
        try:
            with content.data.cast("B") as data:  # requests keeps its last body, the caller's buffer must be free again
                self._store.put(f"cannot save {name}", name, data)
        except NotInStoreError as error:
            raise self._no_container(f"cannot save {name}") from error

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        name = self.place.path(handle)
        if offset_bytes < 0 or (length_bytes is not None and length_bytes < 0):
            raise _beyond(name, offset_bytes, length_bytes)
        if length_bytes == 0:
            return self._nothing(handle, name, offset_bytes)
        byte_range = None
        if offset_bytes or length_bytes is not None:
            last = "" if length_bytes is None else offset_bytes + length_bytes - 1
            byte_range = f"bytes={offset_bytes}-{last}"
        try:
            answer = self._store.get(f"cannot load {name}", name, byte_range)
        except BeyondEndError as error:
            if length_bytes is None:
                return self._nothing(handle, name, offset_bytes)
            raise _beyond(name, offset_bytes, length_bytes) from error
        except NotInStoreError as error:
            raise MissingFileError(str(error)) from error
        return _checked(name, answer, offset_bytes, length_bytes)

    def stat(self, handle: Handle) -> FileInfo:
        name = self.place.path(handle)
        try:
            return FileInfo(handle.name, self._store.size_bytes(f"cannot stat {name}", name))
        except NotInStoreError as error:
            raise MissingFileError(str(error)) from error

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        prefix, marker = self.place.folder(kind), ""
        what = f"cannot list {prefix}"
        while True:
            try:
                page = self._store.page(what, prefix, marker, self.page_entries)
            except NotInStoreError as error:
                raise self._no_container(what) from error
            if not page:  # a short page is no sign: servers give fewer than asked for
                return
            for entry in page:
                name = self.place.name_at(kind, entry["name"])
                if name is not None:
                    yield FileInfo(name, int(entry["bytes"]))
            marker = page[-1]["name"]

    def remove(self, handle: Handle) -> None:
        name = self.place.path(handle)
        try:
            self._store.delete(f"cannot remove {name}", name)
        except NotInStoreError as error:
            raise MissingFileError(str(error)) from error

    def delete(self) -> None:
        """Remove every file of the repository; the container stays, other things may be in it."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # for this rare call alone

        with ThreadPoolExecutor(self.properties.connections) as pool:
            for kind in (FileKind.LOCK, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK, FileKind.KEY):
                handles = [Handle(kind, info.name) for info in self.list(kind)]
                for _ in pool.map(self._remove_if_there, handles):
                    pass
        self._remove_if_there(CONFIG_HANDLE)

    def close(self) -> None:
        self._store.close()

    def _remove_if_there(self, handle: Handle) -> None:
        with contextlib.suppress(MissingFileError):
            self.remove(handle)

    def _nothing(self, handle: Handle, name: str, offset_bytes: int) -> bytes:
        """No bytes, if they are in the file: HTTP has no range for that."""
        if offset_bytes > self.stat(handle).size_bytes:
            raise _beyond(name, offset_bytes, 0)
        return b""

    def _no_container(self, what: str) -> BackendError:
        return BackendError(
            f"{what}: there is no container {self.place.container!r} in this account; `init` makes it", permanent=True
        )


def _checked(name: str, answer: Answer, offset_bytes: int, length_bytes: int | None) -> bytes:
    """The body, if it is what was asked for; a body that is cut is worth another try, a file that ends is not."""
    count = len(answer.body)
    if answer.length_bytes is not None and count != answer.length_bytes:
        raise BackendError(f"cannot load {name}: {count} of {answer.length_bytes} bytes arrived")
    if offset_bytes == 0 and length_bytes is None:
        if answer.md5 is not None and hashlib.md5(answer.body, usedforsecurity=False).hexdigest() != answer.md5:
            raise BackendError(f"cannot load {name}: what arrived is not what the server has, by its MD5")
        return answer.body
    found = _CONTENT_RANGE.fullmatch(answer.content_range or "")
    if found is None:
        raise BackendError(f"cannot load {name}: the server ignores ranges, a proxy may do that", permanent=True)
    first, last, size = (int(number) for number in found.groups())
    wanted = size - offset_bytes if length_bytes is None else length_bytes
    if offset_bytes + wanted > size:
        raise _beyond(name, offset_bytes, length_bytes)
    if first != offset_bytes or count != wanted or last - first + 1 != count:
        raise BackendError(f"cannot load {name}: {wanted} bytes from {offset_bytes} on were asked for, others came")
    return answer.body


def _beyond(name: str, offset_bytes: int, length_bytes: int | None) -> BackendError:
    asked = "the end" if length_bytes is None else f"{length_bytes} bytes"
    return BackendError(f"{name}: {asked} from {offset_bytes} on was asked for, but it ends before", permanent=True)

"""`LibcloudBackend`: a repository in restic's layout with any provider of Apache Libcloud's storage drivers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from limpet.contracts.backend import CONFIG_HANDLE, Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError

from limpet_backend_libcloud.errors import BeyondEndError, NoContainerError, NotInStoreError
from limpet_backend_libcloud.location import LibcloudLocation, parse_location
from limpet_backend_libcloud.settings import OPTIONS, driver_arguments, read_connections

if TYPE_CHECKING:
    from limpet_backend_libcloud.store import Store


class LibcloudBackend(Backend):
    """The objects of one repository. Object stores put an object in place in one step, also over another."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = OPTIONS

    def __init__(self, place: LibcloudLocation, store: Store, *, connections: int) -> None:
        self.place = place
        self._store = store
        self.properties = BackendProperties(connections=connections, atomic_replace=True)

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository at `PROVIDER:CONTAINER/PREFIX`; no request is made yet."""
        place = parse_location(location)
        connections = read_connections(options)
        arguments = driver_arguments(options)
        from limpet_backend_libcloud.store import Store  # noqa: PLC0415  # brings libcloud and requests

        return cls(
            place, Store(place.provider, place.container, arguments, connections, transport), connections=connections
        )

    @property
    def location(self) -> str:
        return str(self.place)

    def __repr__(self) -> str:
        return f"LibcloudBackend({self.location!r})"

    def create(self) -> None:
        """Make the container unless it is there."""
        what = f"cannot make the container {self.place.container!r}"
        if not self._store.has_container(what):
            self._store.make_container(what)

    def save(self, handle: Handle, content: Content) -> None:
        name = self.place.path(handle)
        with content.data.cast("B") as data, self._told(f"cannot save {name}") as what:
            self._store.put(what, name, data)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        name = self.place.path(handle)
        if offset_bytes < 0 or (length_bytes is not None and length_bytes < 0):
            raise _beyond(name, offset_bytes, length_bytes)
        if length_bytes == 0:
            return self._nothing(handle, name, offset_bytes)
        try:
            with self._told(f"cannot load {name}", reading=True) as what:
                data = self._store.get(what, name, offset_bytes, length_bytes)
        except BeyondEndError as error:
            if length_bytes is None:
                return self._nothing(handle, name, offset_bytes)
            raise _beyond(name, offset_bytes, length_bytes) from error
        return data if length_bytes is None else self._of_length(handle, name, data, offset_bytes, length_bytes)

    def stat(self, handle: Handle) -> FileInfo:
        name = self.place.path(handle)
        with self._told(f"cannot stat {name}", reading=True) as what:
            return FileInfo(handle.name, self._store.size_bytes(what, name))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        """All at once: a driver must not stay in use while the caller thinks."""
        prefix = self.place.folder(kind)
        with self._told(f"cannot list {prefix}") as what:
            found = self._store.names(what, prefix)
        for object_name, size_bytes in found:
            name = self.place.name_at(kind, object_name)
            if name is not None:
                yield FileInfo(name, size_bytes)

    def remove(self, handle: Handle) -> None:
        name = self.place.path(handle)
        with self._told(f"cannot remove {name}") as what:
            self._store.delete(what, name)

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

    @contextlib.contextmanager
    def _told(self, what: str, *, reading: bool = False) -> Iterator[str]:
        """What is missing, in the contract's words: where there is no container, there is no file to read either."""
        try:
            yield what
        except NotInStoreError as error:
            raise MissingFileError(str(error)) from error
        except NoContainerError as error:
            if reading:
                raise MissingFileError(str(error)) from error
            raise BackendError(f"{error}; `init` makes it", permanent=True) from error

    def _nothing(self, handle: Handle, name: str, offset_bytes: int) -> bytes:
        """No bytes, if they are in the file: HTTP has no range for that."""
        if offset_bytes > self.stat(handle).size_bytes:
            raise _beyond(name, offset_bytes, 0)
        return b""

    def _of_length(self, handle: Handle, name: str, data: bytes, offset_bytes: int, length_bytes: int) -> bytes:
        """The data, if it is as long as asked for; a body that is cut is worth another try, a file that ends is not."""
        if len(data) == length_bytes:
            return data
        if offset_bytes + length_bytes > self.stat(handle).size_bytes:
            raise _beyond(name, offset_bytes, length_bytes)
        raise BackendError(f"cannot load {name}: {len(data)} of {length_bytes} bytes arrived")


def _beyond(name: str, offset_bytes: int, length_bytes: int | None) -> BackendError:
    asked = "the end" if length_bytes is None else f"{length_bytes} bytes"
    return BackendError(f"{name}: {asked} from {offset_bytes} on was asked for, but it ends before", permanent=True)

"""The calls to one container, each with a driver that no other call uses meanwhile."""

from __future__ import annotations

import os
import queue
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import requests
import urllib3
from libcloud.common.types import InvalidCredsError, MalformedResponseError
from libcloud.storage.base import Container, Object
from libcloud.storage.types import (
    ContainerAlreadyExistsError,
    ContainerDoesNotExistError,
    ObjectDoesNotExistError,
    ObjectHashMismatchError,
)
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, UsageError

from limpet_backend_libcloud.errors import (
    NoContainerError,
    NotInStoreError,
    StatusError,
    connection_error,
    library_error,
    status_error,
)
from limpet_backend_libcloud.http import Http, TransportConnection
from limpet_backend_libcloud.providers import driver_class, has_ranges
from limpet_backend_libcloud.settings import secrets_among

T = TypeVar("T")

CHUNK_SIZE_BYTES = 1 << 20
_EXTRA = {"content_type": "application/octet-stream"}


class Store:
    """One container of one provider. Thread-safe: no driver is shared, for those that are mix up their answers."""

    def __init__(
        self, provider: str, container: str, arguments: dict[str, object], connections: int, transport: Transport
    ) -> None:
        self._provider = provider
        self._container = container
        self._class = driver_class(provider)
        self._arguments = arguments
        self._secrets = secrets_among(arguments)
        self._http = Http(transport)
        self._is_closed = False
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(connections - 1):
            self._idle.put(None)
        self._idle.put(self._new_driver())  # what is wrong with the arguments is told at once

    def has_container(self, what: str) -> bool:
        """Whether the container is there."""
        try:
            self._call(what, lambda driver: driver.get_container(self._container))
        except NoContainerError:
            return False
        return True

    def make_container(self, what: str) -> None:
        """Make it; nothing if another was faster."""
        self._call(what, self._make_container)

    def put(self, what: str, name: str, data: memoryview) -> None:
        """Store the whole object; drivers compare its hash where the provider tells one."""
        with _as_file(data) as path:
            self._call(what, lambda driver: driver.upload_object(path, self._in(driver), name, extra=dict(_EXTRA)))

    def get(self, what: str, name: str, offset_bytes: int, length_bytes: int | None) -> bytes:
        """The bytes of the range that are there, all from the offset on without a length."""

        def get(driver: Any) -> bytes:
            found = Object(name, 0, "", {}, {}, self._in(driver), driver)
            if not offset_bytes and length_bytes is None:
                return b"".join(driver.download_object_as_stream(found, chunk_size=CHUNK_SIZE_BYTES))
            end = None if length_bytes is None else offset_bytes + length_bytes
            if has_ranges(type(driver)):
                parts = driver.download_object_range_as_stream(found, offset_bytes, end, chunk_size=CHUNK_SIZE_BYTES)
                return b"".join(parts)
            whole = driver.download_object_as_stream(found, chunk_size=CHUNK_SIZE_BYTES)
            return _cut(whole, offset_bytes, end)

        return self._call(what, get)

    def size_bytes(self, what: str, name: str) -> int:
        """The size of the object."""
        return self._call(what, lambda driver: int(driver.get_object(self._container, name).size))

    def delete(self, what: str, name: str) -> None:
        """Remove the object; NotInStoreError if it is not there, which most providers do not tell by themselves."""

        def delete(driver: Any) -> None:
            if not driver.delete_object(driver.get_object(self._container, name)):
                raise BackendError(f"{what}: the provider did not remove it")

        self._call(what, delete)

    def names(self, what: str, prefix: str) -> list[tuple[str, int]]:
        """Name and size of each object whose name begins so."""

        def names(driver: Any) -> list[tuple[str, int]]:
            found = driver.iterate_container_objects(self._in(driver), prefix=prefix)
            return [(str(each.name), int(each.size)) for each in found]

        return self._call(what, names)

    def close(self) -> None:
        """Close all connections that are idle now, and the others when their calls end. Idempotent."""
        self._is_closed = True
        taken = []
        with suppress(queue.Empty):
            while True:
                taken.append(self._idle.get_nowait())
        for driver in taken:
            _shut(driver)
            self._idle.put(None)

    def _make_container(self, driver: Any) -> None:
        with suppress(ContainerAlreadyExistsError):
            driver.create_container(self._container)

    def _in(self, driver: Any) -> Container:
        return Container(self._container, {}, driver)

    def _new_driver(self) -> Any:
        try:
            driver = self._class(**self._arguments)
        except Exception as error:  # drivers check their arguments each in their own way
            reason = str(library_error(f"cannot use libcloud's provider {self._provider!r}", error, self._secrets))
            raise UsageError(f"{reason}; look at the options libcloud.key, secret, region, host and extra") from error
        self._http.fit(driver)
        return driver

    def _call(self, what: str, work: Callable[[Any], T]) -> T:
        """What the work gives, done with a driver of its own; errors as the contract has them."""
        driver = self._idle.get()
        is_sound = False
        try:
            if driver is None:
                driver = self._new_driver()
            result = work(driver)
            is_sound = True
            return result
        except (ObjectDoesNotExistError, StatusError, ContainerDoesNotExistError) as error:
            is_sound = True  # the answer was read to its end
            raise self._refusal(what, error, driver) from error
        except BackendError:
            raise
        except InvalidCredsError as error:
            refused = f"{what}: {_host(driver)} does not accept the key or secret"
            raise BackendError(refused, permanent=True) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise connection_error(what, error, _host(driver)) from error
        except (MalformedResponseError, ObjectHashMismatchError) as error:
            raise BackendError(f"{what}: the answer or the stored object was damaged on its way") from error
        except UsageError as error:
            raise BackendError(str(error), permanent=True) from error
        except Exception as error:  # whatever a driver stumbles over
            raise library_error(what, error, self._secrets) from error
        finally:
            if not is_sound or self._is_closed:
                _shut(driver)
                driver = None
            self._idle.put(driver)

    def _refusal(self, what: str, error: Exception, driver: Any) -> BackendError:
        if isinstance(error, StatusError):
            return status_error(what, error, _host(driver))
        if isinstance(error, ContainerDoesNotExistError):
            return NoContainerError(
                f"{what}: there is no container {self._container!r} at {_host(driver)}", permanent=True
            )
        return NotInStoreError(f"{what}: not found", permanent=True)


@contextmanager
def _as_file(data: memoryview) -> Iterator[str]:
    """The path of a file that holds the data while it is uploaded: drivers read it twice, once for its hash."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("limpet-upload"), "wb", buffering=0) as file:
            _write_all(file, data)
            yield f"/proc/{os.getpid()}/fd/{file.fileno()}"
        return
    descriptor, path = tempfile.mkstemp(prefix="limpet-upload-")
    try:
        with open(descriptor, "wb", buffering=0) as file:
            _write_all(file, data)
        yield path
    finally:
        os.unlink(path)


def _write_all(file: Any, data: memoryview) -> None:
    position = 0
    while position < data.nbytes:
        position += file.write(data[position:])


def _cut(parts: Iterator[bytes], start: int, end: int | None) -> bytes:
    """The bytes from `start` to before `end` of all the parts; they are read to their end."""
    kept = []
    position = 0
    for part in parts:
        first = max(start - position, 0)
        last = len(part) if end is None else min(max(end - position, 0), len(part))
        if first < last:
            kept.append(part[first:last])
        position += len(part)
    if start > position:
        raise StatusError(416)
    return b"".join(kept)


def _host(driver: Any) -> str:
    connection = getattr(driver, "connection", None)
    host = getattr(connection, "host", None) or "the provider"
    port = getattr(connection, "port", None)
    return f"{host}:{port}" if port not in (None, 80, 443) else str(host)


def _shut(driver: Any) -> None:
    inner = getattr(getattr(driver, "connection", None), "connection", None)
    if isinstance(inner, TransportConnection):
        inner.shut()

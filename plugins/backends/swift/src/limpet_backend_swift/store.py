"""The requests to one container: each a call of swiftclient's, with a connection and a token that still lets in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
import urllib3
from limpet.contracts.transport import Transport
from limpet.errors import BackendError
from swiftclient import client  # type: ignore[import-untyped]

from limpet_backend_swift.errors import BeyondEndError, NotInStoreError, connection_error, host_of, status_error
from limpet_backend_swift.http import Connections, Http
from limpet_backend_swift.settings import Credentials
from limpet_backend_swift.sign_in import SignIn

T = TypeVar("T")

CONTENT_TYPE = "binary/octet-stream"
"""restic's."""
MD5_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and what its headers say of it."""

    body: bytes
    length_bytes: int | None
    """By Content-Length."""
    content_range: str | None
    """`bytes FIRST-LAST/SIZE` of a part, None of a whole object."""
    md5: str | None
    """Of the whole object, by its ETag; None where that is something else."""


class Store:
    """One container of one account. Thread-safe."""

    def __init__(self, container: str, credentials: Credentials, connections: int, transport: Transport) -> None:
        self._container = container
        http = Http(transport)
        if "https" in {url.partition(":")[0].lower() for url in (credentials.auth_url, credentials.storage_url)}:
            _ = http.ssl_context  # a file that cannot be used is told before anything else
        self._sign_in = SignIn(credentials, http)
        self._connections = Connections(connections, http)

    def has_container(self, what: str) -> bool:
        """Whether the container is there."""
        try:
            self._call(
                what, lambda url, token, http: client.head_container(url, token, self._container, http_conn=http)
            )
        except NotInStoreError:
            return False
        return True

    def make_container(self, what: str, policy: str | None) -> None:
        """Make it, with the storage policy if one is named; nothing if it is there with the same policy."""
        headers = {"X-Storage-Policy": policy} if policy else {}
        self._call(
            what,
            lambda url, token, http: client.put_container(url, token, self._container, headers=headers, http_conn=http),
        )

    def put(self, what: str, name: str, data: memoryview) -> None:
        """Store the whole object; the server compares its MD5."""
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()

        def put(url: str, token: str, http: object) -> str:
            etag: str = client.put_object(
                url,
                token,
                self._container,
                name,
                contents=_Reader(data),
                content_length=data.nbytes,
                etag=md5,
                content_type=CONTENT_TYPE,
                http_conn=http,
            )
            return etag

        etag = self._call(what, put)
        if etag.lower() != md5:
            raise BackendError(f"{what}: the server has stored something else (MD5 {etag!r} instead of {md5!r})")

    def get(self, what: str, name: str, byte_range: str | None) -> Answer:
        """The object, or the part of it that `byte_range` (`bytes=FIRST-LAST`) asks for."""
        headers = {"Range": byte_range} if byte_range else {}

        def get(url: str, token: str, http: object) -> Answer:
            found, body = client.get_object(url, token, self._container, name, http_conn=http, headers=headers)
            return Answer(body, _length(found), found.get("content-range"), _md5(found))

        return self._call(what, get)

    def size_bytes(self, what: str, name: str) -> int:
        """The size of the object."""
        headers = self._call(
            what, lambda url, token, http: client.head_object(url, token, self._container, name, http_conn=http)
        )
        size = _length(headers)
        if size is None:
            raise BackendError(f"{what}: the server does not tell its size")
        return size

    def delete(self, what: str, name: str) -> None:
        """Remove the object."""
        self._call(
            what, lambda url, token, http: client.delete_object(url, token, self._container, name, http_conn=http)
        )

    def page(self, what: str, prefix: str, marker: str, limit: int | None) -> list[dict[str, Any]]:
        """The objects after `marker` in the order of their names, as many as the server gives at once."""

        def page(url: str, token: str, http: object) -> list[dict[str, Any]]:
            try:
                _, objects = client.get_container(
                    url, token, self._container, marker=marker, limit=limit, prefix=prefix, http_conn=http
                )
            except ValueError as error:
                raise BackendError(f"{what}: the server's list is no JSON, something on the way answered") from error
            if not isinstance(objects, list) or not all(isinstance(entry, dict) for entry in objects):
                raise BackendError(f"{what}: the server's answer is no list, something on the way answered")
            return objects

        return self._call(what, page)

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._connections.close()

    def _call(self, what: str, request: Callable[[str, str, object], T]) -> T:
        """What the request gives; once more with a new token where the old one was refused."""
        renewed = False
        while True:
            account = self._sign_in.account()
            host = host_of(account.storage_url)
            try:
                with self._connections.use(account.storage_url) as connection:
                    return request(account.storage_url, account.token, connection)
            except client.ClientException as error:
                status = error.http_status or 0
                if status == 401 and not renewed and self._sign_in.forget(account):
                    renewed = True
                    continue
                raise _typed(what, status, host, error.http_response_headers) from error
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise connection_error(what, error, host) from error


class _Reader:
    """Reads from a view: a part is copied when it is sent, never the whole."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        end = self._data.nbytes if size < 0 else self._position + size
        part = bytes(self._data[self._position : end])
        self._position += len(part)
        return part


def _md5(headers: dict[str, str]) -> str | None:
    etag = headers.get("etag", "").strip('"').lower()
    is_of_segments = "x-static-large-object" in headers or "x-object-manifest" in headers
    return etag if len(etag) == MD5_DIGITS and not is_of_segments else None


def _length(headers: dict[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isdigit() else None


def _typed(what: str, status: int, host: str, headers: Mapping[str, str] | None) -> BackendError:
    plain = status_error(what, status, host, (headers or {}).get("Retry-After"))
    if status == 404:
        return NotInStoreError(f"{what}: not found", permanent=True)
    if status == 416:
        return BeyondEndError(str(plain), permanent=True)
    return plain

"""`GoogleBackend`: a repository as objects in a bucket, laid out as restic's gs backend does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlsplit

import urllib3
from limpet.contracts.backend import CONFIG_HANDLE, Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError, UsageError

from limpet_backend_gs.credentials import AccessToken, Anonymous, Credentials, Renewed
from limpet_backend_gs.location import Place, parse_place
from limpet_backend_gs.service import BEYOND_THE_END, PUBLIC_ENDPOINT, Service

LISTED_AT_ONCE = 1000
"""The most that the service gives."""
DEFAULT_CONNECTIONS = 5
DEFAULT_REGION = "us"
_FORBIDDEN, _MISSING, _ALREADY_THERE = 403, 404, 409
_REMOVED = frozenset({(204, b""), (200, b"null")})
"""Google's answer to a removal, and that of fake-gcs-server."""


class GoogleBackend(Backend):
    """Objects in one bucket. Thread-safe."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("connections", "how many requests run at once", type="integer", default=DEFAULT_CONNECTIONS),
        Option("region", "where a new bucket is made", default=DEFAULT_REGION),
        Option("project-id", "the project that a new bucket belongs to", environment="GOOGLE_PROJECT_ID"),
        Option("access-token", "a token, in place of credentials", environment="GOOGLE_ACCESS_TOKEN", secret=True),
        Option(
            "credentials-file",
            "a service account's key or other credentials (default: application default credentials)",
            environment="GOOGLE_APPLICATION_CREDENTIALS",
        ),
        Option("endpoint", "host and port, or URL, of an emulator", environment="STORAGE_EMULATOR_HOST"),
    )

    def __init__(
        self,
        service: Service,
        place: Place,
        *,
        connections: int = DEFAULT_CONNECTIONS,
        region: str = DEFAULT_REGION,
        project: str | None = None,
    ) -> None:
        self.properties = BackendProperties(connections=connections, atomic_replace=True)
        self._service = service
        self._place = place
        self._region = region
        self._project = project

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository at `BUCKET:/PREFIX`; nothing is asked of the service yet."""
        place = parse_place(location)
        connections = options.get("connections") or DEFAULT_CONNECTIONS
        if not isinstance(connections, int) or connections < 1:
            raise UsageError(f"gs.connections must be a number from 1 on, not {connections!r}")
        endpoint = _endpoint(str(options.get("endpoint") or ""))
        service = Service(endpoint, _credentials(options, endpoint), transport, connections)
        region = str(options.get("region") or DEFAULT_REGION)
        project = str(options.get("project-id") or "") or None
        return cls(service, place, connections=connections, region=region, project=project)

    @property
    def location(self) -> str:
        return str(self._place)

    def __repr__(self) -> str:
        return f"GoogleBackend({self.location!r} at {self._service.host!r})"

    def create(self) -> None:
        """Make the bucket unless it is there; an account that may not look at buckets is no error."""
        if self._bucket_is_there():
            return
        what = f"cannot create the bucket {self._place.bucket!r}"
        project = self._project or self._service.credentials.project()
        body = json.dumps({"name": self._place.bucket, "location": self._region}).encode()
        answer = self._service.request(
            what,
            "POST",
            "/storage/v1/b",
            query={"project": project or ""},
            headers={"Content-Type": "application/json"},
            body=[memoryview(body)],
            accepted=(_ALREADY_THERE,),
        )
        if answer.status == _ALREADY_THERE and not self._bucket_is_there():
            raise BackendError(f"{what}: somebody else has one of this name; choose another", permanent=True)

    def save(self, handle: Handle, content: Content) -> None:
        what = f"cannot save {handle}"
        name = self._place.path(handle)
        data = content.data.cast("B")
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        kind = "application/octet-stream"
        described = json.dumps({"name": name, "md5Hash": digest, "contentType": kind})
        mark = os.urandom(16).hex()
        head = f"--{mark}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{described}\r\n--{mark}\r\n"
        parts = [f"{head}Content-Type: {kind}\r\n\r\n".encode(), f"\r\n--{mark}--\r\n".encode()]
        answer = self._service.request(
            what,
            "POST",
            f"/upload/storage/v1/b/{self._place.bucket}/o",
            query={"uploadType": "multipart", "fields": "md5Hash,size"},
            headers={"Content-Type": f"multipart/related; boundary={mark}"},
            body=[memoryview(parts[0]), data, memoryview(parts[1])],
        )
        stored = _document(what, answer.data)
        if stored.get("md5Hash") != digest or str(stored.get("size")) != str(data.nbytes):
            raise BackendError(f"{what}: the service has stored other bytes than were sent")

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        what = f"cannot load {handle}"
        path = self._object(handle)
        if offset_bytes < 0 or (length_bytes is not None and length_bytes < 0):
            raise BackendError(f"{what}: no range from {offset_bytes} of {length_bytes} bytes", permanent=True)
        if length_bytes == 0:
            return self._nothing(what, handle, offset_bytes)
        whole = offset_bytes == 0 and length_bytes is None
        end = "" if length_bytes is None else offset_bytes + length_bytes - 1
        headers = {} if whole else {"Range": f"bytes={offset_bytes}-{end}"}
        answer = self._service.request(
            what, "GET", path, query={"alt": "media"}, headers=headers, accepted=(BEYOND_THE_END,)
        )
        if answer.status == BEYOND_THE_END:
            if length_bytes is None:
                return self._nothing(what, handle, offset_bytes)
            raise _beyond(what, offset_bytes, length_bytes, None)
        if answer.status != (200 if whole else 206):
            raise BackendError(f"{what}: the answer is not the range that was asked for")
        if not whole:
            _check_range(what, answer, offset_bytes, length_bytes)
        elif not any(
            name in answer.headers for name in ("Content-Length", "Transfer-Encoding")
        ):  # a cut would not show
            raise BackendError(f"{what}: the service does not tell the size")
        return answer.data

    def stat(self, handle: Handle) -> FileInfo:
        what = f"stat {handle}"
        answer = self._service.request(what, "GET", self._object(handle), query={"fields": "size"})
        return FileInfo(handle.name, _size(what, _document(what, answer.data)))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        what = f"cannot list {kind.value}"
        path = f"/storage/v1/b/{self._place.bucket}/o"
        query = {
            "prefix": self._place.folder(kind),
            "maxResults": str(LISTED_AT_ONCE),
            "fields": "items(name,size),nextPageToken",
        }
        while True:
            try:
                answer = self._service.request(what, "GET", path, query=query)
            except MissingFileError as error:  # of a listing, it is the bucket
                raise BackendError(f"{error}: the bucket {self._place.bucket!r}", permanent=True) from error
            page = _document(what, answer.data)
            items = page.get("items", [])
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise BackendError(f"{what}: the answer is no listing")
            for item in items:
                name = self._place.name_at(kind, str(item.get("name", "")))
                if name is not None:
                    yield FileInfo(name, _size(what, item))
            token = page.get("nextPageToken")
            if not token:
                return
            query = {**query, "pageToken": str(token)}

    def remove(self, handle: Handle) -> None:
        what = f"cannot remove {handle}"
        answer = self._service.request(what, "DELETE", self._object(handle))
        if (answer.status, answer.data.strip()) not in _REMOVED:
            raise BackendError(f"{what}: the service answered {answer.status}, and does not say that it is removed")

    def delete(self) -> None:
        """Remove every file of the repository; the bucket stays, as with restic."""
        for kind in (FileKind.LOCK, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK, FileKind.KEY):
            for info in self.list(kind):
                self._remove_if_there(Handle(kind, info.name))
        self._remove_if_there(CONFIG_HANDLE)

    def close(self) -> None:
        self._service.close()

    def _object(self, handle: Handle) -> str:
        return f"/storage/v1/b/{self._place.bucket}/o/{quote(self._place.path(handle), safe='')}"

    def _bucket_is_there(self) -> bool:
        what = f"cannot look at the bucket {self._place.bucket!r}"
        path = f"/storage/v1/b/{self._place.bucket}"
        answer = self._service.request(what, "GET", path, query={"fields": "name"}, accepted=(_FORBIDDEN, _MISSING))
        return answer.status != _MISSING

    def _remove_if_there(self, handle: Handle) -> None:
        try:
            self.remove(handle)
        except MissingFileError:
            return

    def _nothing(self, what: str, handle: Handle, offset_bytes: int) -> bytes:
        """No bytes, if the file goes on that far: the service knows no empty range."""
        size = self.stat(handle).size_bytes
        if offset_bytes > size:
            raise _beyond(what, offset_bytes, 0, size)
        return b""


def _credentials(options: Options, endpoint: str) -> Credentials:
    token, file = (str(options.get(name) or "").strip() for name in ("access-token", "credentials-file"))
    if token:
        return AccessToken(token)
    if endpoint.startswith("http:") and not file:
        return Anonymous()
    return Renewed(file or None)


def _endpoint(text: str) -> str:
    """The URL; a mere host and port are those of an emulator, as in Google's own libraries."""
    if not text:
        return PUBLIC_ENDPOINT
    endpoint = (text if "://" in text else f"http://{text}").rstrip("/")
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        shown = parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()
        raise UsageError(f"gs.endpoint: not the URL of a server: {shown!r}; one is http://127.0.0.1:4443")
    return endpoint


def _document(what: str, body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise BackendError(f"{what}: the service's answer is cut or no JSON") from error
    if not isinstance(document, dict):
        raise BackendError(f"{what}: the service's answer is no JSON object")
    return document


def _size(what: str, document: dict[str, Any]) -> int:
    text = str(document.get("size", ""))
    if not (text.isascii() and text.isdigit()):
        raise BackendError(f"{what}: the service does not tell the size")
    return int(text)


def _check_range(what: str, answer: urllib3.BaseHTTPResponse, offset_bytes: int, length_bytes: int | None) -> None:
    """BackendError unless the answer is all of the range: permanent if the file ends before, else it may pass."""
    _, _, text = answer.headers.get("Content-Range", "").rpartition("/")
    size = int(text) if text.isascii() and text.isdigit() else offset_bytes + len(answer.data)
    wanted = size - offset_bytes if length_bytes is None else length_bytes
    if not answer.headers.get("Content-Range", "").startswith(f"bytes {offset_bytes}-"):
        raise BackendError(f"{what}: the answer is another range than was asked for")
    if len(answer.data) == wanted:
        return
    if offset_bytes + wanted > size:
        raise _beyond(what, offset_bytes, wanted, size)
    raise BackendError(f"{what}: the answer has {len(answer.data)} bytes instead of {wanted}")


def _beyond(what: str, offset_bytes: int, length_bytes: int, size_bytes: int | None) -> BackendError:
    ends = "it ends before" if size_bytes is None else f"it has {size_bytes}"
    return BackendError(f"{what}: {length_bytes} bytes from {offset_bytes} on were asked for, {ends}", permanent=True)

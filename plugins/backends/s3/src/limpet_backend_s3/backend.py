"""`S3Backend`: restic's layout of objects in a bucket, each put by one signed request that the service checks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Self

from limpet.contracts.backend import Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError
from limpet.ids import is_hex_id

from limpet_backend_s3.client import Answer, Client, integrity_headers
from limpet_backend_s3.errors import CHANGED_CODES, RefusedError
from limpet_backend_s3.listing import first_query, read_page
from limpet_backend_s3.opening import OPTIONS, open_client
from limpet_backend_s3.place import DEFAULT_REGION
from limpet_backend_s3.signature import Query

ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Only packs of file contents go there: all else has to be read at once."""
LARGEST_BYTES = 5 << 30
"""What one PUT takes."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class S3Backend(Backend):
    """Objects below one prefix of a bucket, named as restic's S3 backend does (packs in `data/xx/`)."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = OPTIONS

    def __init__(
        self,
        client: Client,
        *,
        connections: int,
        storage_class: str | None = None,
        list_version_1: bool = False,
        sha256_checksums: bool = False,
    ) -> None:
        self._client = client
        self._storage_class = storage_class
        self._list_version_1 = list_version_1
        self._sha256_checksums = sha256_checksums
        self.properties = BackendProperties(connections=connections, atomic_replace=True)

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository in the bucket that `location` names (`parse_place`); no request is made yet."""
        opened = open_client(location, options, transport)
        return cls(
            opened.client,
            connections=opened.connections,
            storage_class=opened.storage_class,
            list_version_1=opened.list_version_1,
            sha256_checksums=opened.sha256_checksums,
        )

    @property
    def location(self) -> str:
        return f"s3:{self._client.place}"

    def __repr__(self) -> str:
        return f"S3Backend({self.location!r})"

    def create(self) -> None:
        """Make the bucket if it is missing; one that may not be looked at is taken to be there, as restic does."""
        what = f"create {self.location}"
        try:
            with self._client.request(what, "HEAD"):
                return
        except MissingFileError:
            pass
        except RefusedError as error:
            if error.refusal.status == 403 and error.refusal.code in {"", "AccessDenied"}:
                return
            raise
        body = b""
        if self._client.region != DEFAULT_REGION:
            body = (
                b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>'
                + self._client.region.encode()
                + b"</LocationConstraint></CreateBucketConfiguration>"
            )
        content = Content(memoryview(body), hashlib.sha256(body).digest())
        try:
            with self._client.request(what, "PUT", content=content):
                pass
        except RefusedError as error:
            if error.refusal.code != "BucketAlreadyOwnedByYou":
                raise

    def save(self, handle: Handle, content: Content) -> None:
        key = self._key(handle)
        if content.size_bytes > LARGEST_BYTES:
            raise BackendError(f"save {handle}: larger than the 5 GiB that S3 takes in one request", permanent=True)
        headers = {
            "content-type": "application/octet-stream",
            **integrity_headers(content, sha256=self._sha256_checksums),
        }
        if self._storage_class and (self._storage_class not in ARCHIVE_CLASSES or _is_content_pack(handle)):
            headers["x-amz-storage-class"] = self._storage_class
        try:
            with self._client.request(f"save {handle}", "PUT", key, headers=headers, content=content):
                pass
        except RefusedError as error:
            if error.refusal.code in CHANGED_CODES and hashlib.sha256(content.data).digest() == content.sha256:
                raise BackendError(f"{error}: it changed on its way") from error  # ours is what it was: once more
            raise

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        if length_bytes is None and offset_bytes == 0:
            with self._client.request(f"load {handle}", "GET", self._key(handle)) as answer:
                data, is_whole = answer.read(), answer.says_its_length
            if not is_whole and len(data) != self.stat(handle).size_bytes:
                raise BackendError(f"load {handle}: the answer ended after {len(data)} bytes, before its end")
            return data
        length = self._checked_length(handle, offset_bytes, length_bytes)
        if length == 0:
            return b""
        with self._range(handle, offset_bytes, length) as answer:
            data = answer.read()
        if len(data) != length:
            raise BackendError(f"load {handle}: {len(data)} bytes came of {length}")
        return data

    def load_into(self, handle: Handle, offset_bytes: int, buffer: memoryview) -> None:
        if self._checked_length(handle, offset_bytes, buffer.nbytes):
            with self._range(handle, offset_bytes, buffer.nbytes) as answer:
                answer.read_into(buffer.cast("B"))

    def stat(self, handle: Handle) -> FileInfo:
        with self._client.request(f"stat {handle}", "HEAD", self._key(handle)) as answer:
            return FileInfo(handle.name, _size(answer, f"stat {handle}"))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        prefix = self._client.place.key(kind.value, "")
        what = f"list {kind.value}"
        first: Query = first_query(prefix, version_1=self._list_version_1)
        query = first
        while True:
            with self._client.request(what, "GET", query=query) as answer:
                page = read_page(answer.read(), what=what, version_1=self._list_version_1)
            for key, size in page.objects:
                if not key.startswith(prefix):  # to leave it out would make the listing look empty
                    raise BackendError(f"{what}: the service lists what was not asked for: {key!r}", permanent=True)
                name = key.rpartition("/")[2]
                # What lies elsewhere under such a name would be listed and yet not found.
                if is_hex_id(name) and key == self._key(Handle(kind, name)):
                    yield FileInfo(name, size)
            if page.following is None:
                return
            following = [*first, *page.following]
            if following == query:
                raise BackendError(f"{what}: the service answers with the same page again and again", permanent=True)
            query = following

    def remove(self, handle: Handle) -> None:
        """Remove the object; in a bucket with versions that hides it behind a mark.

        The service says the same for what was not there, so it is asked first.
        """
        key = self._key(handle)
        with self._client.request(f"remove {handle}", "HEAD", key):
            pass
        with self._client.request(f"remove {handle}", "DELETE", key):
            pass

    def delete(self) -> None:
        """Remove the repository's objects; the bucket stays, as with restic."""
        for kind in FileKind:
            names = [""] if kind is FileKind.CONFIG else [info.name for info in self.list(kind)]
            for name in names:
                handle = Handle(kind, name)
                with self._client.request(f"remove {handle}", "DELETE", self._key(handle)):
                    pass

    def close(self) -> None:
        self._client.close()

    def _key(self, handle: Handle) -> str:
        name, place = handle.name, self._client.place
        if handle.kind is FileKind.CONFIG:
            if name:
                raise BackendError(f"the config has no name, not {name!r}", permanent=True)
            return place.key("config")
        if not is_hex_id(name):
            raise BackendError(f"not the name of a file in a repository: {name!r}", permanent=True)
        folder = handle.kind.value
        return place.key(folder, name[:2], name) if handle.kind is FileKind.PACK else place.key(folder, name)

    def _checked_length(self, handle: Handle, offset_bytes: int, length_bytes: int | None) -> int:
        """How many bytes a range has; asks for the file's size only where the range alone does not say."""
        if offset_bytes < 0 or (length_bytes is not None and length_bytes < 0):
            raise BackendError(f"load {handle}: no range: {length_bytes} from {offset_bytes} on", permanent=True)
        if length_bytes:
            return length_bytes
        size = self.stat(handle).size_bytes
        if offset_bytes > size:
            raise _beyond(handle, offset_bytes, length_bytes)
        return size - offset_bytes if length_bytes is None else 0

    @contextmanager
    def _range(self, handle: Handle, offset_bytes: int, length_bytes: int) -> Iterator[Answer]:
        """The answer with exactly these bytes to come."""
        end = offset_bytes + length_bytes
        headers = {"range": f"bytes={offset_bytes}-{end - 1}"}
        try:
            with self._client.request(f"load {handle}", "GET", self._key(handle), headers=headers) as answer:
                match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
                # rclone answers a range from the first byte on by 200, with the range beside it.
                if match is None and not (offset_bytes == 0 and _size(answer, "load") <= length_bytes):
                    raise BackendError(f"load {handle}: the service does not know ranges", permanent=True)
                came = (int(match[1]), int(match[2]) + 1) if match else (0, _size(answer, "load"))
                if came != (offset_bytes, end):
                    raise _beyond(handle, offset_bytes, length_bytes)
                yield answer
        except RefusedError as error:
            if error.refusal.status == 416:
                raise _beyond(handle, offset_bytes, length_bytes) from error
            raise


def _is_content_pack(handle: Handle) -> bool:
    return handle.kind is FileKind.PACK and not handle.is_tree_pack


def _size(answer: Answer, what: str) -> int:
    text = answer.headers.get("content-length", "")
    if not text.isdigit():
        raise BackendError(f"{what}: the service did not say how large the file is")
    return int(text)


def _beyond(handle: Handle, offset_bytes: int, length_bytes: int | None) -> BackendError:
    wanted = "all" if length_bytes is None else f"{length_bytes} bytes"
    return BackendError(f"load {handle}: {wanted} from {offset_bytes} on were asked for, it is shorter", permanent=True)

"""One bucket of B2 by the names of its files: every call raises the errors of the contract and no others."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from b2sdk.v3.exception import DuplicateBucketName, InvalidAuthToken  # type: ignore[import-untyped]
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError

from limpet_backend_b2.errors import translated
from limpet_backend_b2.http import OneTryHttp, UploadBody
from limpet_backend_b2.session import Credentials, Session

PAGE = 10_000
"""The most entries that one request lists; Backblaze bills by the thousand, so that larger pages cost nothing."""
HIDDEN, STARTED = "hide", "start"
"""Actions of what is no version of a file: the mark that hides it, and an upload in parts that has not ended."""
PARTIAL_CONTENT = 206


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a file, or the mark by which the file looks removed, which is not visible."""

    name: str
    file_id: str
    is_visible: bool


class Bucket:
    """Asks the service for nothing before the first call. Thread-safe."""

    def __init__(self, name: str, credentials: Credentials, transport: Transport, connections: int) -> None:
        self.name = name
        self._credentials = credentials
        self._http = OneTryHttp(transport, connections)
        self._lock = threading.Lock()
        self._opened: Session | None = None
        self._id: str | None = None

    def create(self) -> None:
        """Make the bucket, private, unless it is there."""
        if self._find() is not None:
            return
        what = f"cannot create the bucket {self.name!r}"
        with translated(what, missing=what):
            try:
                made = self._session.create_bucket(self._session.account_id, self.name, "allPrivate")
            except DuplicateBucketName as error:
                raise BackendError(f"{what}: another account has one of this name", permanent=True) from error
        self._id = made["bucketId"]

    def may_delete(self) -> bool:
        """Whether the application key may remove versions of files for good."""
        return "deleteFiles" in self._session.allowed["capabilities"]

    def upload(self, name: str, data: memoryview) -> None:
        """A new version of the file; the service compares its SHA-1 before it keeps anything."""
        what = f"cannot save {name}"
        bucket_id = self._bucket_id(what)
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        with translated(what, missing=self._no_bucket()):
            try:
                self._upload(bucket_id, name, data, digest)
            except InvalidAuthToken:
                # A day is over: the addresses that are kept for uploads have expired with the token.
                self._session.account_info.clear_bucket_upload_data(bucket_id)
                self._upload(bucket_id, name, data, digest)

    def download(self, name: str, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        """Exactly the range, which is not empty, or the whole file; no shorter and no longer body passes."""
        wanted = None if length_bytes is None else (offset_bytes, offset_bytes + length_bytes - 1)
        what = f"cannot load {name}"
        self._bucket_id(what)
        url = self._session.get_download_url_by_name(self.name, name)
        with (
            translated(what, missing=self._no_file(name)),
            self._session.download_file_from_url(url, wanted) as response,
            response,
        ):
            size = _length(what, response.headers)
            if wanted is not None and response.status_code != PARTIAL_CONTENT:
                raise BackendError(f"{what}: the server sent the whole file instead of a range")
            if wanted is not None and not response.headers.get("Content-Range", "").startswith(
                f"bytes {offset_bytes}-"
            ):
                raise BackendError(f"{what}: the server sent another range than was asked for")
            if length_bytes is not None and size > length_bytes:
                raise BackendError(f"{what}: {size} bytes came instead of {length_bytes}")
            if length_bytes is not None and size < length_bytes:
                raise BackendError(
                    f"{what}: it ends after {offset_bytes + size} bytes, before byte {offset_bytes + length_bytes}",
                    permanent=True,
                )
            data: bytes = response.raw.read(size, decode_content=False)
            if len(data) != size:
                raise BackendError(f"{what}: {len(data)} of {size} bytes came")
        return data

    def size(self, name: str) -> int:
        """The size of the newest version in bytes."""
        what = f"cannot look up {name}"
        self._bucket_id(what)
        with translated(what, missing=self._no_file(name)):
            return _length(what, self._session.get_file_info_by_name(self.name, name))

    def files(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Name and size of each file that has the prefix; hidden files are none."""
        what = f"cannot list {prefix}"
        start: str | None = None
        while True:
            bucket_id = self._bucket_id(what)
            with translated(what, missing=self._no_bucket()):
                page = self._session.list_file_names(bucket_id, start, PAGE, prefix)
            for file in page["files"]:
                yield file["fileName"], file["contentLength"]
            start = page["nextFileName"]
            if start is None:
                return

    def versions(self, prefix: str) -> Iterator[Version]:
        """Every version of every file that has the prefix, marks of hidden ones too; the newest of a name first."""
        what = f"cannot list {prefix}"
        start: tuple[str | None, str | None] = (None, None)
        while True:
            bucket_id = self._bucket_id(what)
            with translated(what, missing=self._no_bucket()):
                page = self._session.list_file_versions(bucket_id, *start, PAGE, prefix)
            for file in page["files"]:
                if file["action"] != STARTED:
                    yield Version(file["fileName"], file["fileId"], file["action"] != HIDDEN)
            start = (page["nextFileName"], page["nextFileId"])
            if start[0] is None:
                return

    def hide(self, name: str) -> None:
        """Make the file look removed; its versions stay until the bucket's life-cycle rules remove them."""
        bucket_id = self._bucket_id(f"cannot hide {name}")
        with translated(f"cannot hide {name}", missing=self._no_file(name)):
            self._session.hide_file(bucket_id, name)

    def delete_versions(self, versions: Sequence[Version]) -> None:
        """Remove these for good, in this order; one that is gone already is as good."""
        for version in versions:
            what = f"cannot remove {version.name}"
            try:
                with translated(what, missing=what):
                    self._session.delete_file_version(version.file_id, version.name)
            except MissingFileError:
                continue

    def cancel_unfinished(self, prefix: str) -> int:
        """Remove the parts of uploads that were begun and never ended; how many uploads."""
        what = f"cannot cancel unfinished uploads of {prefix}"
        bucket_id = self._bucket_id(what)
        cancelled = 0
        with translated(what, missing=self._no_bucket()):
            while True:
                page = self._session.list_unfinished_large_files(bucket_id, None, 100, prefix)["files"]
                for file in page:
                    self._session.cancel_large_file(file["fileId"])
                cancelled += len(page)
                if not page:
                    return cancelled

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._http.close()

    def _upload(self, bucket_id: str, name: str, data: memoryview, digest: str) -> None:
        body = UploadBody(data)
        try:
            self._session.upload_file(bucket_id, name, len(body), "application/octet-stream", digest, {}, body)
        finally:
            body.close()

    @property
    def _session(self) -> Session:
        if self._opened is None:
            with self._lock:
                if self._opened is None:
                    what = "cannot log in to B2"
                    with translated(what, missing=f"{what}: there is no such service at {self._credentials.realm}"):
                        self._opened = Session(self._http, self._credentials)
        return self._opened

    def _bucket_id(self, what: str) -> str:
        """The bucket's id; MissingFileError naming the bucket where there is none."""
        found = self._id or self._find()
        if found is None:
            raise MissingFileError(f"{what}: {self._no_bucket()}")
        return found

    def _no_bucket(self) -> str:
        return f"the bucket {self.name!r} does not exist; `init` creates it"

    def _no_file(self, name: str) -> str:
        return f"{name} does not exist in the bucket {self.name!r}"

    def _find(self) -> str | None:
        """The bucket's id; None if the account has no such bucket. A key for one bucket need not list others."""
        if self._id is None:
            self._id = self._look_up()
        return self._id

    def _look_up(self) -> str | None:
        allowed = self._session.allowed.get("buckets")
        if allowed:
            found = next((bucket["id"] for bucket in allowed if bucket["name"] == self.name), None)
            if found is None:
                names = ", ".join(repr(bucket["name"]) for bucket in allowed)
                raise BackendError(
                    f"the application key is for the bucket {names}, not for {self.name!r}", permanent=True
                )
            return str(found)
        what = f"cannot look for the bucket {self.name!r}"
        with translated(what, missing=what):
            buckets = self._session.list_buckets(self._session.account_id, bucket_name=self.name)["buckets"]
        return next((str(bucket["bucketId"]) for bucket in buckets), None)


def _length(what: str, headers: Mapping[str, str]) -> int:
    """The length that an answer states; BackendError if it states none."""
    text = headers.get("Content-Length", "")
    if not (text.isascii() and text.isdigit()):
        raise BackendError(f"{what}: the service does not tell the size")
    return int(text)

"""`AzureBackend`: a repository as blobs in a container, laid out as restic's azure backend does."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self
from xml.etree import ElementTree

import urllib3
from limpet.contracts.backend import CONFIG_HANDLE, Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError, UsageError

from limpet_backend_azure.account import OPTIONS, account
from limpet_backend_azure.errors import code_of, refused
from limpet_backend_azure.location import Place, parse_place
from limpet_backend_azure.service import Service, size_of

MIB = 1 << 20
LARGEST_PUT_BYTES = 256 * MIB
BLOCK_BYTES = 100 * MIB
LISTED_AT_ONCE = 5000
DEFAULT_CONNECTIONS = 5
TIERS = ("Hot", "Cool", "Cold", "Archive")
_CREATED = 201
_ALREADY_THERE = 409
_REMOVED = 202


class AzureBackend(Backend):
    """Blobs in one container of a storage account. Thread-safe."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("connections", "how many requests run at once", type="integer", default=DEFAULT_CONNECTIONS),
        Option("access-tier", f"where new blobs are kept: {', '.join(TIERS)} (default: as the account has it)"),
        *OPTIONS,
    )

    def __init__(
        self,
        service: Service,
        place: Place,
        *,
        connections: int = DEFAULT_CONNECTIONS,
        access_tier: str | None = None,
        largest_put_bytes: int = LARGEST_PUT_BYTES,
        block_bytes: int = BLOCK_BYTES,
        listed_at_once: int = LISTED_AT_ONCE,
    ) -> None:
        self.properties = BackendProperties(connections=connections, atomic_replace=True)
        self._service = service
        self._place = place
        self._access_tier = access_tier
        self._largest_put_bytes = largest_put_bytes
        self._block_bytes = block_bytes
        self._listed_at_once = listed_at_once

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository at `CONTAINER:/PREFIX`; nothing is asked of the service yet."""
        place = parse_place(location)
        connections = options.get("connections") or DEFAULT_CONNECTIONS
        if not isinstance(connections, int) or connections < 1:
            raise UsageError(f"azure.connections must be a number from 1 on, not {connections!r}")
        tier = options.get("access-tier")
        service = Service(account(options), transport, connections)
        return cls(service, place, connections=connections, access_tier=_tier(str(tier)) if tier else None)

    @property
    def location(self) -> str:
        return str(self._place)

    def __repr__(self) -> str:
        return f"AzureBackend({self.location!r} at {self._service.host!r})"

    def create(self) -> None:
        """Make the container unless it is there; a credential that may not look at containers is no error."""
        what = f"cannot create the container {self._place.container!r}"
        container = {"restype": "container"}
        answer = self._service.request(what, "HEAD", self._place.container, query=container, accepted=(403, 404))
        if answer.status == 403 and not answer.headers.get("x-ms-error-code", "").startswith("Authorization"):
            raise refused(what, answer.status, answer.headers, answer.data)
        if answer.status == 404:
            body = memoryview(b"")
            made = self._service.request(
                what, "PUT", self._place.container, query=container, body=body, accepted=(_ALREADY_THERE,)
            )
            if made.status == _ALREADY_THERE and code_of(made.headers, made.data) != "ContainerAlreadyExists":
                raise refused(what, made.status, made.headers, made.data)

    def save(self, handle: Handle, content: Content) -> None:
        what = f"cannot save {handle}"
        name = self._blob(handle)
        data = content.data.cast("B")
        if data.nbytes > self._largest_put_bytes:
            self._save_blocks(what, handle, name, data)
            return
        headers = {"x-ms-blob-type": "BlockBlob", "Content-Type": "application/octet-stream", "Content-MD5": _md5(data)}
        self._put(what, name, {**headers, **self._tier_header(handle)}, data)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        what = f"cannot load {handle}"
        name = self._blob(handle)
        if offset_bytes < 0 or (length_bytes is not None and length_bytes < 0):
            raise BackendError(f"{what}: no range from {offset_bytes} of {length_bytes} bytes", permanent=True)
        if length_bytes == 0:
            return self._nothing(what, handle, offset_bytes)
        whole = offset_bytes == 0 and length_bytes is None
        end = "" if length_bytes is None else offset_bytes + length_bytes - 1
        headers = {} if whole else {"Range": f"bytes={offset_bytes}-{end}"}
        answer = self._service.request(what, "GET", name, headers=headers, accepted=(416,))
        if answer.status == 416:
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
        return FileInfo(handle.name, size_of(self._service.request(what, "HEAD", self._blob(handle)), what))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        query = {
            "restype": "container",
            "comp": "list",
            "prefix": self._place.folder(kind),
            "maxresults": str(self._listed_at_once),
        }
        while True:
            page = self._page(f"cannot list {kind.value}", query)
            for blob in page.iterfind("Blobs/Blob"):
                name = self._place.name_at(kind, blob.findtext("Name", ""))
                size = blob.findtext("Properties/Content-Length", "")
                if name is not None and size.isdigit():
                    yield FileInfo(name, int(size))
            marker = page.findtext("NextMarker")
            if not marker:
                return
            query = {**query, "marker": marker}

    def remove(self, handle: Handle) -> None:
        what = f"cannot remove {handle}"
        answer = self._service.request(what, "DELETE", self._blob(handle))
        if answer.status != _REMOVED:
            raise BackendError(f"{what}: the service answered {answer.status}, and does not say that it is removed")

    def delete(self) -> None:
        """Remove every file of the repository; the container stays, as with restic."""
        for kind in (FileKind.LOCK, FileKind.SNAPSHOT, FileKind.INDEX, FileKind.PACK, FileKind.KEY):
            for info in self.list(kind):
                self._remove_if_there(Handle(kind, info.name))
        self._remove_if_there(CONFIG_HANDLE)

    def close(self) -> None:
        self._service.close()

    def _blob(self, handle: Handle) -> str:
        return f"{self._place.container}/{self._place.path(handle)}"

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

    def _page(self, what: str, query: dict[str, str]) -> ElementTree.Element:
        try:
            answer = self._service.request(what, "GET", self._place.container, query=query)
        except MissingFileError as error:  # of a listing, it is the container
            raise BackendError(str(error), permanent=True) from error
        try:
            page = ElementTree.fromstring(answer.data)
        except ElementTree.ParseError as error:
            raise BackendError(f"{what}: the service's list is cut or no XML") from error
        if page.tag != "EnumerationResults" or page.find("Blobs") is None:
            raise BackendError(f"{what}: the answer is no list, something on the way answered")
        return page

    def _save_blocks(self, what: str, handle: Handle, name: str, data: memoryview) -> None:
        """Blocks that become a blob all at once at the end; those that never do are dropped by the service."""
        listed = []
        for start in range(0, data.nbytes, self._block_bytes):
            block = data[start : start + self._block_bytes]
            digest = _md5(block)  # the block's name as well: the same name for the same bytes, whoever sends them
            query = {"comp": "block", "blockid": digest}
            self._put(what, name, {"Content-MD5": digest}, block, query)
            listed.append(f"<Latest>{digest}</Latest>")
        names = memoryview(f"<?xml version='1.0' encoding='utf-8'?><BlockList>{''.join(listed)}</BlockList>".encode())
        headers = {"Content-Type": "application/xml", "Content-MD5": _md5(names), **self._tier_header(handle)}
        self._put(what, name, headers, names, {"comp": "blocklist"})

    def _put(
        self, what: str, name: str, headers: dict[str, str], body: memoryview, query: dict[str, str] | None = None
    ) -> None:
        answer = self._service.request(what, "PUT", name, query=query, headers=headers, body=body)
        if answer.status != _CREATED:
            raise BackendError(f"{what}: the answer does not say that it is stored, something on the way answered")

    def _tier_header(self, handle: Handle) -> dict[str, str]:
        """The tier; of the archive, which takes hours to read, only for packs of file data (restic's rule)."""
        if self._access_tier is None:
            return {}
        if self._access_tier == "Archive" and (handle.kind is not FileKind.PACK or handle.is_tree_pack):
            return {}
        return {"x-ms-access-tier": self._access_tier}


def _md5(data: memoryview) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _tier(text: str) -> str:
    for tier in TIERS:
        if tier.lower() == text.lower():
            return tier
    raise UsageError(f"azure.access-tier: {text!r} is none of {', '.join(TIERS)}")


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

"""`B2Backend`: restic's layout in a bucket of B2, where a file is a stack of versions and the newest one counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Self

from limpet.contracts.backend import CONFIG_HANDLE, Backend, BackendProperties, Content, FileInfo, FileKind, Handle
from limpet.contracts.options import Option, Options
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, MissingFileError, UsageError

from limpet_backend_b2.location import Place, parse_location

if TYPE_CHECKING:
    from limpet_backend_b2.bucket import Bucket, Version

KINDS = tuple(kind for kind in FileKind if kind is not FileKind.CONFIG)


class Removal(Enum):
    """What becomes of a file that is removed."""

    HARD = "hard"
    """All its versions go, for good."""
    HIDE = "hide"
    """It gets a mark that hides it; the bucket's life-cycle rules remove its versions when it is time."""
    AUTO = "auto"
    """Hard if the application key may, else hide: what restic does."""


class B2Backend(Backend):
    """One repository below a prefix of one bucket."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = (
        Option("connections", "how many connections are used at once", type="integer", default=5),
        Option("account-id", "the id of the application key, or of the account", environment="B2_ACCOUNT_ID"),
        Option("account-key", "the application key", environment="B2_ACCOUNT_KEY", secret=True),
        Option(
            "delete",
            "what becomes of removed files: `hard` removes all their versions, `hide` hides them, `auto` hides them"
            " where the key may not remove",
            default=Removal.AUTO.value,
        ),
        Option(
            "realm",
            "the service: `production`, or the address of another one",
            default="production",
            environment="B2_ENVIRONMENT",
        ),
    )

    def __init__(self, place: Place, bucket: Bucket, *, removal: Removal, connections: int) -> None:
        self._place = place
        self._bucket = bucket
        self._removal = removal
        self.properties = BackendProperties(connections=connections, atomic_replace=True)

    @classmethod
    def open(cls, location: str, options: Options, transport: Transport = DEFAULT_TRANSPORT) -> Self:
        """The repository at `bucket:prefix`; the service is asked for nothing yet."""
        place = parse_location(location)
        connections = options.get("connections", 5)
        if not isinstance(connections, int) or connections < 1:
            raise UsageError(f"b2.connections must be a number from 1 on, not {connections!r}")
        removal = _removal(options)
        key_id, key = options.get("account-id"), options.get("account-key")
        for value, name, variable in ((key_id, "account-id", "B2_ACCOUNT_ID"), (key, "account-key", "B2_ACCOUNT_KEY")):
            if not value:
                raise UsageError(f"{place}: no {name} is given; set ${variable} to that of an application key")
        realm = _realm(options)
        from limpet_backend_b2.bucket import Bucket  # noqa: PLC0415  # brings b2sdk and requests
        from limpet_backend_b2.session import Credentials  # noqa: PLC0415

        bucket = Bucket(place.bucket, Credentials(str(key_id), str(key), realm), transport, connections)
        return cls(place, bucket, removal=removal, connections=connections)

    @classmethod
    def below(cls, location: str, name: str) -> str:
        """With the second colon that a location without a path lacks."""
        return super().below(location if ":" in location else f"{location}:", name)

    @property
    def location(self) -> str:
        return str(self._place)

    def __repr__(self) -> str:
        return f"B2Backend({self.location!r})"

    def create(self) -> None:
        """Make the bucket if there is none; prefixes need no making."""
        self._bucket.create()

    def save(self, handle: Handle, content: Content) -> None:
        self._bucket.upload(self._place.path(handle), content.data)

    def load(self, handle: Handle, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        name = self._place.path(handle)
        if length_bytes == 0:  # no range of HTTP is empty
            _check_offset(name, offset_bytes, self._bucket.size(name))
            return b""
        if offset_bytes and length_bytes is None:  # nor is there one that begins at the end
            size_bytes = self._bucket.size(name)
            _check_offset(name, offset_bytes, size_bytes)
            return self.load(handle, offset_bytes, size_bytes - offset_bytes)
        return self._bucket.download(name, offset_bytes, length_bytes)

    def stat(self, handle: Handle) -> FileInfo:
        return FileInfo(handle.name, self._bucket.size(self._place.path(handle)))

    def list(self, kind: FileKind) -> Iterator[FileInfo]:
        for name, size_bytes in self._bucket.files(self._place.folder(kind)):
            identifier = self._place.name_at(kind, name)
            if identifier is not None:
                yield FileInfo(identifier, size_bytes)

    def remove(self, handle: Handle) -> None:
        """All versions go or get hidden, so that no older one shows up in the place of the newest."""
        name = self._place.path(handle)
        if self._hides():
            self._bucket.hide(name)
            return
        versions = [version for version in self._bucket.versions(name) if version.name == name]
        if not versions or not versions[0].is_visible:
            raise MissingFileError(f"{name} does not exist in the bucket {self._place.bucket!r}")
        self._bucket.delete_versions(versions[::-1])  # The newest last: it hides the others until they are gone.

    def sweep(self) -> int:
        """Cancel uploads in parts that were begun and never ended, such as restic makes of large files."""
        kinds = (FileKind.PACK, FileKind.INDEX, FileKind.SNAPSHOT)
        return sum(self._bucket.cancel_unfinished(self._place.folder(kind)) for kind in kinds)

    def delete(self) -> None:
        """Remove all files of the repository as `remove` does, their old and hidden versions too; the bucket stays."""
        if self._hides():
            for handle in self._all_handles():
                self._bucket.hide(self._place.path(handle))
            return
        self._bucket.delete_versions(self._all_versions()[::-1])
        self.sweep()

    def close(self) -> None:
        self._bucket.close()

    def _hides(self) -> bool:
        return self._removal is Removal.HIDE or (self._removal is Removal.AUTO and not self._bucket.may_delete())

    def _all_handles(self) -> Iterator[Handle]:
        """Every file that shows, the config last: until then it is a repository."""
        for kind in KINDS:
            for info in self.list(kind):
                yield Handle(kind, info.name)
        try:
            self.stat(CONFIG_HANDLE)
        except MissingFileError:
            return
        yield CONFIG_HANDLE

    def _all_versions(self) -> Sequence[Version]:
        """Every version of every file of the repository, the config's first."""
        config = self._place.path(CONFIG_HANDLE)
        found = [version for version in self._bucket.versions(config) if version.name == config]
        for kind in KINDS:
            versions = self._bucket.versions(self._place.folder(kind))
            found += [version for version in versions if self._place.name_at(kind, version.name) is not None]
        return found


def _check_offset(name: str, offset_bytes: int, size_bytes: int) -> None:
    if offset_bytes > size_bytes:
        raise BackendError(f"cannot load {name}: it ends after {size_bytes} bytes", permanent=True)


def _removal(options: Options) -> Removal:
    value = options.get("delete") or Removal.AUTO.value
    try:
        return Removal(value)
    except ValueError:
        choices = ", ".join(choice.value for choice in Removal)
        raise UsageError(f"b2.delete must be one of {choices}, not {value!r}") from None


def _realm(options: Options) -> str:
    """The name of a realm of Backblaze's, or an address without a slash at its end."""
    realm = str(options.get("realm") or "production").rstrip("/")
    if realm != "production" and not realm.startswith(("https://", "http://")):
        raise UsageError(f"b2.realm must be `production` or an address that begins with https://, not {realm!r}")
    return realm

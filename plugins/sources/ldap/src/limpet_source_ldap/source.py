"""`LdapSource`: databases of an OpenLDAP server, each as the LDIF that slapcat writes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import BinaryIO, ClassVar, Self, cast

from limpet.contracts.destination import Destination
from limpet.contracts.dump import Dump, DumpSource
from limpet.contracts.options import Option
from limpet.contracts.source import SourceRequest, Target
from limpet.errors import UsageError

from limpet_source_ldap.address import CONFIG_DATABASE, Directory, file_path, numbered
from limpet_source_ldap.databases import databases
from limpet_source_ldap.destination import LdapDestination
from limpet_source_ldap.tools import SLAPCAT, program


class LdapSource(DumpSource):
    """All databases of a directory, its configuration too, or one of them; slapd goes on meanwhile."""

    contract_version: ClassVar[int] = 1
    destination: ClassVar[type[Destination] | None] = LdapDestination
    options: ClassVar[Sequence[Option]] = ()

    def __init__(self, request: SourceRequest, directories: Sequence[Directory]) -> None:
        super().__init__(request)
        self._directories = directories
        self._is_listed = False

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for a bad address, or where slapcat is not installed. Nothing is read."""
        if not request.targets:
            raise UsageError("ldap: no directory was named: write ldap:///")
        directories = [Directory.parse(target) for target in request.targets]
        program(SLAPCAT)
        return cls(request, directories)

    @property
    def snapshot_paths(self) -> Sequence[str]:
        """The folder where all databases are wanted: another database does not make another backup."""
        return list(dict.fromkeys(_snapshot_path(directory) for directory in self._directories))

    def targets(self) -> Sequence[Target]:
        """One file for each database; SourceError where the configuration that names them cannot be read."""
        if not self._is_listed:
            self.set_dumps([dump for directory in self._directories for dump in _dumps(directory)])
            self._is_listed = True
        return super().targets()


def _snapshot_path(directory: Directory) -> str:
    if directory.base:
        return file_path(directory.base)
    if directory.number is not None:
        return file_path(numbered(directory.number))
    return file_path("").rpartition("/")[0]


def _dumps(directory: Directory) -> Sequence[Dump]:
    if not directory.is_all:
        return [_dump(directory, _snapshot_path(directory), directory.database)]
    dumps = []
    if directory.has_folder:
        dumps.append(_dump(directory, file_path(numbered(CONFIG_DATABASE)), ["-n", str(CONFIG_DATABASE)]))
    for database in databases(directory):
        # -g: a database that is glued to another one is a file of its own, and not in the other one's too.
        dumps.append(_dump(directory, file_path(database.suffix), ["-g", "-n", str(database.number)]))
    return dumps


def _dump(directory: Directory, path: str, database: Sequence[str]) -> Dump:
    argv = [program(SLAPCAT), *directory.configuration, *database, "-o", "ldif-wrap=no"]
    return Dump(path, argv, what=directory.shown, filtered=_may_be_empty)


def _may_be_empty(output: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_MayBeEmpty(output), io.DEFAULT_BUFFER_SIZE))


class _MayBeEmpty(io.RawIOBase):
    """The output of a command that has nothing to say where a database holds no entry. Its exit code tells."""

    def __init__(self, output: BinaryIO) -> None:
        super().__init__()
        self._output = output
        self._has_begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            count = self._output.readinto(buffer)  # type: ignore[attr-defined]
        except OSError:
            if self._has_begun:
                raise
            return 0
        self._has_begun = True
        return int(count)

    def close(self) -> None:
        self._output.close()
        super().close()

"""`LdapDestination`: LDIF goes back into an empty database, by slapadd, while slapd does not run."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from typing import Self

from limpet.contracts.destination import Destination, DestinationRequest, StoredFile, feed
from limpet.errors import DestinationError, UsageError

from limpet_source_ldap.address import CONFIG_DATABASE, CONFIG_FILE, Directory, file_path
from limpet_source_ldap.tools import SLAPADD, SLAPCAT, program

_PID_FILE = re.compile(rb'^(?:olcPidFile:|pidfile)[ \t]+"?([^"\n]+?)"?[ \t]*$', re.MULTILINE | re.IGNORECASE)


class LdapDestination(Destination):
    """One database of a configuration that is there; database 0 is the configuration itself, in an empty folder."""

    def __init__(self, request: DestinationRequest, directory: Directory) -> None:
        self._request = request
        self._directory = directory
        self._is_config = directory.number == CONFIG_DATABASE

    @classmethod
    def open(cls, request: DestinationRequest) -> Self:
        """The destination; UsageError where the address does not say which database."""
        directory = Directory.parse(request.place)
        if directory.is_all:
            raise UsageError(
                f"{directory.shown}: name the database: ldap:///BASE, or ldap:///?config=FOLDER&database=0 for the"
                " configuration"
            )
        if directory.number == CONFIG_DATABASE and (directory.config is None or not directory.has_folder):
            raise UsageError(f"{directory.shown}: the configuration goes into an empty folder: name it, ?config=FOLDER")
        program(SLAPADD)
        program(SLAPCAT)
        return cls(request, directory)

    def wanted(self, paths: Sequence[str]) -> Sequence[str]:
        """The configuration for database 0, else the file of the base, else the only one with data; or UsageError."""
        suited = [path for path in paths if path.endswith(f"/{CONFIG_FILE}") == self._is_config]
        if not suited:
            kind = "configuration" if self._is_config else "database but a configuration"
            raise UsageError(f"{self._directory.shown}: the snapshot holds no {kind}: {', '.join(paths)}")
        own = file_path(self._directory.base)
        return [own] if own in suited else super().wanted(suited)

    def receive(self, file: StoredFile) -> None:
        """Have slapadd try it, then load it; DestinationError where slapd runs, or something is there already."""
        self._refuse_running()
        self._refuse_entries()
        argv = [program(SLAPADD), *self._directory.configuration, *self._directory.database]
        if not self._is_config:  # Whose schema is in what is loaded: without it there is nothing to try.
            feed(file, [*argv, "-u"], self._request)
        try:
            feed(file, argv, self._request)
        except DestinationError as error:
            raise error.saying(
                f"{error}; what came before that is in {self._directory.shown}: empty it before you try again"
            ) from error

    def close(self) -> None:
        """Nothing is kept between the calls."""

    def _refuse_running(self) -> None:
        number = _running(self._configuration_text())
        if number is not None:
            raise DestinationError(f"{self._directory.shown}: slapd runs with it (process {number}): stop it before")

    def _configuration_text(self) -> bytes:
        if self._is_config:
            return b""
        if not self._directory.has_folder:
            assert self._directory.config is not None
            with open(self._directory.config, "rb") as file:
                return file.read()
        argv = [program(SLAPCAT), *self._directory.configuration, "-n", str(CONFIG_DATABASE), "-o", "ldif-wrap=no"]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout

    def _refuse_entries(self) -> None:
        if self._is_config:
            assert self._directory.config is not None
            if os.listdir(self._directory.config):
                raise DestinationError(f"{self._directory.shown}: the folder {self._directory.config} is not empty")
            return
        argv = [program(SLAPCAT), *self._directory.configuration, *self._directory.database]
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            # One that was never used cannot be read at all: what else is wrong with it slapadd says.
            assert process.stdout is not None
            has_entries = bool(process.stdout.read(1))
            process.kill()
        if has_entries:
            raise DestinationError(
                f"{self._directory.shown}: the database holds entries: slapadd goes into an empty one"
            )


def _running(configuration: bytes) -> int | None:
    """The process that the configuration's pid file names, if it is there."""
    named = _PID_FILE.search(configuration)
    if named is None:
        return None
    try:
        with open(os.fsdecode(named[1]), encoding="ascii") as file:
            number = int(file.read())
        os.kill(number, 0)
    except PermissionError:
        return number
    except (OSError, ValueError):
        return None
    return number

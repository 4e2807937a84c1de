"""Which databases a directory has, out of its configuration."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from limpet.contracts.made_dump import PrivateFolder
from limpet.errors import SourceError

from limpet_source_ldap.address import CONFIG_DATABASE, Directory
from limpet_source_ldap.tools import SLAPCAT, program

DUMPABLE = {"mdb", "hdb", "bdb", "wt", "ldif"}
"""Databases that hold entries of their own; the others (monitor, relay, ldap, ...) show what is elsewhere."""


@dataclass(frozen=True, slots=True)
class Database:
    """One database that can be dumped."""

    number: int
    suffix: str
    """The first of its suffixes."""


def databases(directory: Directory) -> Sequence[Database]:
    """All that hold entries; SourceError where the configuration cannot be read."""
    if directory.has_folder:
        return _listed(_configuration(directory, directory.configuration))
    folder = PrivateFolder()
    try:
        # A slapd.conf is turned into the database that a newer configuration is, in this folder.
        return _listed(_configuration(directory, [*directory.configuration, "-F", folder.path]))
    finally:
        folder.close()


def entries(ldif: str) -> Iterator[Mapping[str, Sequence[str]]]:
    """The entries of LDIF (RFC 2849), each the values of its attributes by their names."""
    for block in ldif.replace("\r\n", "\n").replace("\n ", "").split("\n\n"):
        entry: dict[str, list[str]] = {}
        for line in block.splitlines():
            name, colon, value = line.partition(":")
            if not colon or line.startswith("#"):
                continue
            if value.startswith(":"):
                value = base64.b64decode(value[1:]).decode("utf-8", "surrogateescape")
            entry.setdefault(name, []).append(value.removeprefix(" "))
        if entry:
            yield entry


def _listed(ldif: str) -> Sequence[Database]:
    found = []
    for entry in entries(ldif):
        for value in entry.get("olcDatabase", ()):
            number, _, kind = value.removeprefix("{").partition("}")
            if kind in DUMPABLE and entry.get("olcSuffix"):
                found.append(Database(int(number), entry["olcSuffix"][0]))
    return found


def _configuration(directory: Directory, place: Sequence[str]) -> str:
    return _ask(directory, [program(SLAPCAT), *place, "-n", str(CONFIG_DATABASE), "-o", "ldif-wrap=no"])


def _ask(directory: Directory, argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise SourceError(f"{directory.shown}: failed to start command {argv[0]}: {error}") from error
    if done.returncode:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
        raise SourceError(f"{directory.shown}: command {argv[0]} failed: exit status {done.returncode}: {said}")
    return done.stdout.decode("utf-8", "surrogateescape")

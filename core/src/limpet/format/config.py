"""The `config` file: sealed JSON, never compressed, written once when a repository is created."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Self

from limpet.errors import IntegrityError, RepositoryError
from limpet.format import Buffer
from limpet.format import fields as read
from limpet.format.chunker import DEGREE, is_irreducible
from limpet.format.gojson import JsonValue, json_value
from limpet.ids import ID_SIZE, is_hex_id

MIN_VERSION = 1
MAX_VERSION = 2

_HEX = re.compile(r"[0-9a-fA-F]{1,16}")
_KNOWN = frozenset(("version", "id", "chunker_polynomial"))


@dataclass(frozen=True, slots=True)
class Config:
    """A repository's version, its id (64 hex digits) and the chunker's polynomial (one bit a coefficient)."""

    version: int
    id: str
    chunker_polynomial: int
    extra: dict[str, JsonValue] = field(default_factory=dict)  # fields of other programs, kept over a rewrite

    @classmethod
    def new(cls, version: int, chunker_polynomial: int) -> Self:
        """The config of a new repository, with a random id."""
        return cls(version, os.urandom(ID_SIZE).hex(), chunker_polynomial)


def encode_config(config: Config) -> bytes:
    """The JSON as restic writes it, other programs' fields last."""
    fields: dict[str, JsonValue] = {
        "version": config.version,
        "id": config.id,
        "chunker_polynomial": f"{config.chunker_polynomial:x}",
    }
    return json_value(fields | config.extra)


def decode_config(json: Buffer) -> Config:
    """The config; RepositoryError for a version that Limpet does not know, IntegrityError for anything malformed."""
    fields = read.decode_object(json, "the config")
    version = read.uint(fields, "version", read.UINT32)
    if not MIN_VERSION <= version <= MAX_VERSION:
        raise RepositoryError(
            f"repository has version {version}, this Limpet knows {MIN_VERSION} to {MAX_VERSION}: try a newer one"
        )
    repository_id = read.string(fields, "id")
    if not is_hex_id(repository_id):
        raise IntegrityError("the config's id is not 64 hex digits")
    polynomial = _polynomial(read.string(fields, "chunker_polynomial"))
    extra = {name: value for name, value in fields.items() if name not in _KNOWN}
    return Config(version, repository_id, polynomial, extra)


def _polynomial(text: str) -> int:
    polynomial = int(text, 16) if _HEX.fullmatch(text) else 0
    if polynomial.bit_length() != DEGREE + 1 or not is_irreducible(polynomial):
        raise IntegrityError(f"the config's chunker_polynomial is no irreducible polynomial of degree {DEGREE}")
    return polynomial

"""The `config` file: sealed JSON, never compressed, written once when a repository is created."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from limpet.errors import IntegrityError, RepositoryError
from limpet.format import Buffer
from limpet.format.gojson import JsonValue
from limpet.format.jsonobject import JsonObject, encode_unknown
from limpet.ids import ID_SIZE, is_hex_id

MIN_VERSION = 1
MAX_VERSION = 2
POLYNOMIAL_DEGREE = 53

_HEX = re.compile(r"[0-9a-fA-F]{1,16}")
_FIELDS = ("version", "id", "chunker_polynomial")


@dataclass(frozen=True, slots=True)
class Config:
    """A repository's version, its id (64 hex digits) and the chunker's polynomial (one bit a coefficient)."""

    version: int
    id: str
    chunker_polynomial: int
    extra: Mapping[str, JsonValue] = field(default_factory=dict)  # fields of other programs, kept over a rewrite

    @classmethod
    def new(cls, version: int, chunker_polynomial: int) -> Self:
        """The config of a new repository, with a random id."""
        return cls(version, os.urandom(ID_SIZE).hex(), chunker_polynomial)


def encode_config(config: Config) -> bytes:
    """The JSON as restic writes it, other programs' fields last."""
    known = f'"version":{config.version},"id":"{config.id}","chunker_polynomial":"{config.chunker_polynomial:x}"'
    return b"{" + known.encode("ascii") + encode_unknown(config.extra) + b"}"


def decode_config(json: Buffer) -> Config:
    """The config; RepositoryError for a version that Limpet does not know, IntegrityError for anything malformed.

    That the polynomial is irreducible is not checked here (see the chunker); its degree is.
    """
    fields = JsonObject.parse(json, "config")
    version = fields.integer("version", most=2**32 - 1)
    if not MIN_VERSION <= version <= MAX_VERSION:
        raise RepositoryError(
            f"repository has version {version}, this Limpet knows {MIN_VERSION} to {MAX_VERSION}: try a newer one"
        )
    repository_id = fields.text("id")
    if not is_hex_id(repository_id):
        raise IntegrityError("config: field 'id' is not 64 hex digits")
    return Config(version, repository_id, _polynomial(fields.text("chunker_polynomial")), fields.unknown(_FIELDS))


def _polynomial(text: str) -> int:
    polynomial = int(text, 16) if _HEX.fullmatch(text) else 0
    if polynomial.bit_length() != POLYNOMIAL_DEGREE + 1:
        raise IntegrityError(f"config: field 'chunker_polynomial' is not of degree {POLYNOMIAL_DEGREE}")
    return polynomial

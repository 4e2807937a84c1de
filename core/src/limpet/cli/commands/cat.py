"""`limpet cat`: what is stored in the repository, decrypted and as it is."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256

import click

from limpet.cli.json_output import encode_json
from limpet.cli.session import Session, pass_session
from limpet.cli.snapshot_output import snapshot_fields
from limpet.contracts.backend import FileKind, Handle
from limpet.errors import LimpetError, RepositoryError, UsageError
from limpet.format.config import encode_config
from limpet.format.keyfile import encode_keyfile
from limpet.format.lockfile import decode_lockfile, encode_lockfile
from limpet.format.pack import BlobKind
from limpet.ids import ID_SIZE, BlobId, StorageId, is_hex_id
from limpet.repository.keys import load_key
from limpet.repository.repository import Repository
from limpet.repository.snapshots import find_snapshot, tree_of

INDENT = 2


@click.command("cat")
@click.argument("arguments", nargs=-1, metavar="TYPE [ID]")
@pass_session
def command(session: Session, *, arguments: Sequence[str]) -> None:
    """Print internal objects to stdout.

    TYPE is one of masterkey, config, pack, blob, snapshot, index, key, lock, tree; a tree is named by
    SNAPSHOT:FOLDER.
    """
    if not arguments:
        raise UsageError("type not specified")
    kind, *names = arguments
    if kind in WITHOUT_ID:
        with session.locked_repository() as repository:
            WITHOUT_ID[kind](session, repository)
        return
    show = WITH_ID.get(kind)
    if show is None:
        allowed = "|".join(["config", "index", "snapshot", "key", "masterkey", "lock", "pack", "blob", "tree"])
        raise UsageError(f'invalid type "{kind}", must be one of [{allowed}]')
    if len(names) != 1:
        raise UsageError("ID not specified")
    with session.locked_repository() as repository:
        show(session, repository, names[0])


def _config(session: Session, repository: Repository) -> None:
    _print_indented(session, encode_config(repository.config))


def _master_key(session: Session, repository: Repository) -> None:
    key = repository.key
    document = {"mac": {"k": _base64(key.mac_k), "r": _base64(key.mac_r)}, "encrypt": _base64(key.encrypt)}
    session.print_json(document, indent=INDENT)


def _index(session: Session, repository: Repository, name: str) -> None:
    data = repository.load_unpacked(FileKind.INDEX, _parse_id(name))
    session.terminal.write_bytes(data if data.endswith(b"\n") else data + b"\n")


def _snapshot(session: Session, repository: Repository, name: str) -> None:
    try:
        stored, _ = find_snapshot(repository, name)
    except LimpetError as error:
        raise RepositoryError(f"could not find snapshot: {error}") from error
    session.print(encode_json(snapshot_fields(stored.snapshot), indent=INDENT))


def _key(session: Session, repository: Repository, name: str) -> None:
    _print_indented(session, encode_keyfile(load_key(repository.backend, _parse_id(name))))


def _lock(session: Session, repository: Repository, name: str) -> None:
    lock = decode_lockfile(repository.load_unpacked(FileKind.LOCK, _parse_id(name)))
    _print_indented(session, encode_lockfile(lock))


def _pack(session: Session, repository: Repository, name: str) -> None:
    pack_id = _parse_id(name)
    data = repository.backend.load(Handle(FileKind.PACK, name))
    actual = sha256(data).digest()
    if actual != pack_id:
        session.terminal.error(
            f"Warning: hash of data does not match ID, want\n  {pack_id.hex()}\ngot:\n  {actual.hex()}"
        )
    session.terminal.write_bytes(data)


def _blob(session: Session, repository: Repository, name: str) -> None:
    blob_id = BlobId(_parse_id(name))
    repository.load_index(session.reporter)
    for kind in (BlobKind.DATA, BlobKind.TREE):
        if repository.index.contains(kind, blob_id):
            session.terminal.write_bytes(repository.load_blob(kind, blob_id))
            return
    raise UsageError("blob not found")


def _tree(session: Session, repository: Repository, name: str) -> None:
    try:
        stored, subfolder = find_snapshot(repository, name)
    except LimpetError as error:
        raise RepositoryError(f"could not find snapshot: {error}") from error
    repository.load_index(session.reporter)
    tree_id = tree_of(repository, stored, subfolder)
    session.terminal.write_bytes(repository.load_blob(BlobKind.TREE, tree_id))


WITHOUT_ID: dict[str, Callable[[Session, Repository], None]] = {"config": _config, "masterkey": _master_key}
WITH_ID: dict[str, Callable[[Session, Repository, str], None]] = {
    "index": _index,
    "snapshot": _snapshot,
    "key": _key,
    "lock": _lock,
    "pack": _pack,
    "blob": _blob,
    "tree": _tree,
}


def _print_indented(session: Session, data: bytes) -> None:
    session.print(encode_json(json.loads(data), indent=INDENT))


def _parse_id(text: str) -> StorageId:
    if len(text) != 2 * ID_SIZE:
        raise UsageError(f'unable to parse ID: invalid length for ID: "{text}"')
    if not is_hex_id(text):
        raise UsageError(f"unable to parse ID: {text!r} is not 64 hex digits")
    return StorageId(bytes.fromhex(text))


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")

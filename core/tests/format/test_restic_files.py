"""Every kind of file in repositories that a real restic wrote, and files of ours that it reads."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from limpet.format.compression import Compressor, Decompressor, Level
from limpet.format.config import Config, decode_config, encode_config
from limpet.format.crypto import Box, MasterKey
from limpet.format.indexfile import decode_index, encode_index
from limpet.format.kdf import KdfParameters, new_salt
from limpet.format.keyfile import KeyFile, decode_keyfile, encode_keyfile, seal_master_key
from limpet.format.lockfile import LockFile, decode_lockfile, encode_lockfile
from limpet.format.pack import (
    BlobKind,
    PackedBlob,
    decode_header,
    encode_header,
    encode_trailer,
    pack_size_from,
    sealed_header,
)
from limpet.format.timestamps import Time, parse_time
from limpet.format.unpacked import decode_unpacked, encode_unpacked
from limpet.ids import BlobId, StorageId, is_hex_id
from limpet.testing.restic import Restic

pytestmark = pytest.mark.interop
PASSWORD = "correct horse ✓"
CHEAP = KdfParameters(2, 1, 1, new_salt())


@dataclass(frozen=True)
class Written:
    """A repository that restic filled, its opened master key, and the files that went in."""

    restic: Restic
    version: int
    folder: Path
    key: MasterKey
    contents: list[bytes]


@pytest.fixture(scope="module", params=[1, 2])
def written(request: pytest.FixtureRequest, restic_any: Restic, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A repository of version 1 and one of version 2, by each restic."""
    base = tmp_path_factory.mktemp("restic")
    source, folder = base / "source", base / "repo"
    source.mkdir()
    chance = random.Random(1)
    contents = [b"text that compresses " * 1000, chance.randbytes(400_000), b"", b"x"]
    for number, content in enumerate(contents):
        (source / f"file{number}").write_bytes(content)
    version: int = request.param
    restic_any.run("init", "--repository-version", str(version), repo=folder, password=PASSWORD)
    restic_any.run("backup", ".", repo=folder, password=PASSWORD, cwd=source)
    (key_path,) = (folder / "keys").iterdir()
    return Written(restic_any, version, folder, decode_keyfile(key_path.read_bytes()).open(PASSWORD), contents)


def test_key_file_is_read_and_written_alike(written: Written) -> None:
    """A repository of restic that does not open is useless; a key rewritten otherwise would get another id."""
    (path,) = (written.folder / "keys").iterdir()
    assert encode_keyfile(decode_keyfile(path.read_bytes())) == path.read_bytes()


def test_config_is_read_and_written_alike(written: Written) -> None:
    """The polynomial decides where files are cut."""
    text = Box(written.key).open((written.folder / "config").read_bytes())
    config = decode_config(text)
    assert (config.version, encode_config(config)) == (written.version, text)
    shown = json.loads(written.restic.cat("config", repo=written.folder, password=PASSWORD))
    assert (shown["id"], shown["chunker_polynomial"]) == (config.id, f"{config.chunker_polynomial:x}")


def test_index_is_read_and_written_alike(written: Written) -> None:
    """Every blob is found through the index."""
    for path in (written.folder / "index").iterdir():
        text = _unpacked(written, path)
        assert encode_index(decode_index(text).packs) == text


def test_packs_are_as_their_headers_and_the_index_say(written: Written) -> None:
    """Header, index and stored bytes must agree, and every blob must have the hash that is its id."""
    plain: dict[BlobId, bytes] = {}
    indexed = [
        pack for path in (written.folder / "index").iterdir() for pack in decode_index(_unpacked(written, path)).packs
    ]
    box, decompressor = Box(written.key), Decompressor()
    for pack_id, blobs in indexed:
        pack = (written.folder / "data" / pack_id.hex()[:2] / pack_id.hex()).read_bytes()
        assert hashlib.sha256(pack).digest() == pack_id
        listed = decode_header(box.open(sealed_header(pack[-700:], len(pack))), len(pack))
        assert sorted(blobs, key=lambda blob: blob.offset_bytes) == listed
        assert pack_size_from(listed) == len(pack)
        for blob in listed:
            data = box.open(pack[blob.offset_bytes : blob.offset_bytes + blob.length_bytes])
            if blob.plain_length_bytes:
                assert written.version == 2
                data = decompressor.decompress(data, blob.plain_length_bytes)
            assert hashlib.sha256(data).digest() == blob.id
            assert len(data) == blob.data_length_bytes
            plain[blob.id] = data
    stored = set(plain.values())
    assert {content for content in written.contents if content} <= stored


def test_snapshot_is_readable(written: Written) -> None:
    """Snapshots go through the same encoding as indexes."""
    (path,) = (written.folder / "snapshots").iterdir()
    assert json.loads(_unpacked(written, path))["paths"]


def test_lock_of_restic_is_understood(written: Written) -> None:
    """A lock that is not understood is not honoured."""
    locks = written.folder / "locks"
    with written.restic.start(
        "backup", "--stdin", "--stdin-filename", "slow", repo=written.folder, password=PASSWORD
    ) as process:
        try:
            deadline_s = time.monotonic() + 60
            while not (paths := [path for path in locks.iterdir() if is_hex_id(path.name)]):  # not its temporary file
                assert time.monotonic() < deadline_s, "restic took no lock"
                time.sleep(0.02)
            text = _unpacked(written, paths[0])
            lock = decode_lockfile(text)
            assert (lock.pid, lock.exclusive, lock.uid) == (process.pid, False, os.getuid())
            assert abs(lock.time.ns - time.time_ns()) < 120 * 10**9
            assert encode_lockfile(lock) == text
        finally:
            process.communicate(b"end", timeout=60)


@pytest.mark.parametrize("exclusive", [True, False])
def test_lock_of_ours_is_honoured_by_restic(written: Written, exclusive: bool) -> None:
    """Two tools that do not see each other's locks destroy a repository when one of them prunes."""
    lock = LockFile(Time(time.time_ns(), 0), exclusive, "another-host", "me", 1, 1000, 1000)
    plain = encode_unpacked(encode_lockfile(lock), written.version, Compressor(Level.AUTO))
    path = _store(written.folder, "locks", Box(written.key).seal(plain))
    try:
        for command, needs_exclusive in (("prune", True), ("snapshots", False)):
            done = written.restic.run(command, repo=written.folder, password=PASSWORD, check=False)
            if exclusive or needs_exclusive:
                assert done.returncode != 0
                assert b"PID 1 on another-host by me" in done.stderr
            else:
                assert done.returncode == 0
    finally:
        path.unlink()


@pytest.mark.parametrize(("version", "level"), [(1, None), *((2, level) for level in Level), (2, None)])
def test_restic_reads_a_repository_made_by_hand(
    restic_any: Restic, tmp_path: Path, version: int, level: Level | None
) -> None:
    """The judge of every encoder at once: key, config, pack, index and snapshot."""
    key, content = MasterKey.generate(), b"the content of one file, compressible " * 1000
    _write_repository(tmp_path / "repo", key, version, level, content)
    repo = tmp_path / "repo"
    restic_any.run("check", "--read-data", repo=repo, password=PASSWORD)
    assert restic_any.run("dump", "latest", "/file", repo=repo, password=PASSWORD).stdout == content
    (shown,) = restic_any.json("snapshots", repo=repo, password=PASSWORD)
    assert parse_time(shown["time"]).ns == 1_700_000_000_123_456_789


def _write_repository(folder: Path, key: MasterKey, version: int, level: Level | None, content: bytes) -> None:
    """A repository with one file in one snapshot; blobs uncompressed where `level` is None."""
    box, compressor = Box(key), Compressor(level or Level.AUTO)
    for name in ("keys", "locks", "index", "snapshots", "data"):
        (folder / name).mkdir(parents=True)
    now = Time(1_700_000_000_000_000_000, 0)
    keyfile = KeyFile(now, "me", "host", CHEAP, seal_master_key(key, PASSWORD, CHEAP))
    _store(folder, "keys", encode_keyfile(keyfile))
    (folder / "config").write_bytes(box.seal(encode_config(Config.new(version, 0x3DA3358B4DC173))))

    moment = '"2023-11-14T22:13:20.123456789Z"'
    tree = (
        f'{{"nodes":[{{"name":"file","type":"file","mode":420,"mtime":{moment},"atime":{moment},"ctime":{moment},'
        f'"uid":0,"gid":0,"size":{len(content)},"content":["{hashlib.sha256(content).hexdigest()}"]}}]}}\n'
    ).encode()
    packs = []
    for kind, data in ((BlobKind.DATA, content), (BlobKind.TREE, tree)):
        sealed = box.seal(compressor.compress(data) if level else data)
        blob_id = BlobId(hashlib.sha256(data).digest())
        blobs = [PackedBlob(kind, blob_id, 0, len(sealed), len(data) if level else 0)]
        header = box.seal(encode_header(blobs))
        path = _store(folder, "data", sealed + header + encode_trailer(len(header)))
        packs.append((StorageId(bytes.fromhex(path.name)), blobs))
    tree_id = packs[1][1][0].id.hex()
    snapshot = f'{{"time":{moment},"tree":"{tree_id}","paths":["/"],"hostname":"host"}}'.encode()
    for name, text in (("index", encode_index(packs)), ("snapshots", snapshot)):
        _store(folder, name, box.seal(encode_unpacked(text, version, compressor)))


def _store(folder: Path, kind: str, content: bytes) -> Path:
    """The file, under the name that its bytes have."""
    name = hashlib.sha256(content).hexdigest()
    path = folder / kind / (name[:2] if kind == "data" else "") / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def _unpacked(written: Written, path: Path) -> bytes:
    stored = path.read_bytes()
    assert hashlib.sha256(stored).hexdigest() == path.name
    return decode_unpacked(Box(written.key).open(stored), Decompressor())

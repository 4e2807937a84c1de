"""What `prune --dry-run` costs in a repository of millions of blobs, beside restic on the same repository.

    python benchmarks/prune_load.py --blobs 2000000 --restic PATH

The packs of data are holes of the right sizes (a dry run reads none of them); index, trees and snapshot are real. One
blob in twenty is used by nobody. Both tools run without a cache; the peak is that of the largest process.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from limpet.contracts.backend import Content, FileKind, Handle
from limpet.format.compression import Compressor, Level
from limpet.format.indexfile import MAX_BLOBS, encode_pack
from limpet.format.kdf import KdfParameters, new_salt
from limpet.format.pack import BlobKind, PackedBlob, encode_header, encode_trailer, pack_size_from
from limpet.format.snapshot import Snapshot, encode_snapshot
from limpet.format.timestamps import Time
from limpet.ids import BlobId, StorageId
from limpet.repository.repository import Repository
from limpet_backend_local import LocalBackend

PASSWORD = "benchmark"
BLOBS_PER_PACK = 100
FILES_PER_TREE = 95
TREES_PER_PACK = 500
UNUSED_OF = 20

_FILE = b'{"name":"%d","type":"file","mode":420,"size":1000,"content":["%b"]}'
_FOLDER = b'{"name":"%08d","type":"dir","mode":2147484141,"subtree":"%b"}'


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took; the peak is the largest process's."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def main() -> None:
    """Builds, measures, prints, removes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blobs", type=int, default=1_000_000)
    parser.add_argument("--restic", default=os.environ.get("LIMPET_RESTIC") or shutil.which("restic") or "restic")
    parser.add_argument("--limpet", default=str(Path(sys.executable).with_name("limpet")))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", help="where the repository is built for the time; default: the temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="limpet-prune-", dir=arguments.folder) as folder:
        root = Path(folder) / "repository"
        started = time.monotonic()
        _Builder(root).build(arguments.blobs)
        print(f"built a repository of {arguments.blobs} blobs in {time.monotonic() - started:.0f} s", flush=True)
        for number in range(arguments.rounds):
            for binary in (
                (arguments.restic, arguments.limpet) if number % 2 == 0 else (arguments.limpet, arguments.restic)
            ):
                cost, output = measure([binary, "--no-cache", "-r", str(root), "prune", "--dry-run", "-v"])
                print(f"{binary}: {cost.wall_s:.1f} s, {cost.cpu_s:.1f} s of CPU, {cost.peak_mb:.0f} MB")
                print(
                    "    "
                    + "\n    ".join(line for line in output.splitlines() if re.search("used:|total:|keep:", line))
                )


class _Builder:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._chance = random.Random(1)
        self._repository = Repository.create(LocalBackend(str(root)), PASSWORD, kdf=KdfParameters(2, 1, 1, new_salt()))
        self._box = self._repository.opener().box
        self._compressor = Compressor(Level.FASTEST)
        self._index: list[bytes] = []
        self._indexed = 0
        self._trees: list[bytes] = []

    def build(self, blobs: int) -> None:
        """Packs, index, trees and one snapshot that needs nearly all of them."""
        folders: list[bytes] = []
        names: list[bytes] = []
        for data_ids in self._data_packs(blobs):
            names += data_ids
            while len(names) >= FILES_PER_TREE:
                files = b",".join(_FILE % (number, name) for number, name in enumerate(names[:FILES_PER_TREE]))
                folders.append(self._tree(files))
                del names[:FILES_PER_TREE]
        root = self._tree(b",".join(_FOLDER % (number, tree) for number, tree in enumerate(folders)))
        self._save_trees()
        self._save_index()
        snapshot = Snapshot(
            time=Time(1_700_000_000_000_000_000), tree=BlobId(bytes.fromhex(root.decode())), paths=["/"], hostname="h"
        )
        self._repository.save_unpacked(FileKind.SNAPSHOT, encode_snapshot(snapshot))

    def _data_packs(self, blobs: int) -> Iterator[list[bytes]]:
        """Hex ids of the blobs of each pack that are used."""
        for first in range(0, blobs, BLOBS_PER_PACK):
            ids = self._chance.randbytes(32 * (BLOBS_PER_PACK + 1))
            packed = []
            offset = 0
            for number in range(1, min(BLOBS_PER_PACK, blobs - first) + 1):
                length = self._chance.randrange(40_000, 300_000)
                packed.append(
                    PackedBlob(BlobKind.DATA, BlobId(ids[32 * number : 32 * number + 32]), offset, length, length)
                )
                offset += length
            pack_id = StorageId(ids[:32])
            path = self._root / "data" / pack_id.hex()[:2] / pack_id.hex()
            with path.open("wb") as file:
                file.truncate(pack_size_from(packed))
            self._add_to_index(pack_id, packed)
            yield [blob.id.hex().encode() for blob in packed if self._chance.randrange(UNUSED_OF)]

    def _tree(self, nodes: bytes) -> bytes:
        """The hex id of a tree, which is stored with others."""
        data = b'{"nodes":[%b]}\n' % nodes
        self._trees.append(data)
        if len(self._trees) >= TREES_PER_PACK:
            self._save_trees()
        return sha256(data).hexdigest().encode()

    def _save_trees(self) -> None:
        stored, packed = bytearray(), []
        for data in self._trees:
            sealed = self._box.seal(self._compressor.compress(data))
            blob_id = BlobId(sha256(data).digest())
            packed.append(PackedBlob(BlobKind.TREE, blob_id, len(stored), len(sealed), len(data)))
            stored += sealed
        header = self._box.seal(encode_header(packed))
        stored += header + encode_trailer(len(header))
        pack_id = StorageId(sha256(stored).digest())
        self._repository.backend.save(Handle(FileKind.PACK, pack_id.hex()), Content(memoryview(stored), pack_id))
        self._add_to_index(pack_id, packed)
        self._trees = []

    def _add_to_index(self, pack_id: StorageId, packed: Sequence[PackedBlob]) -> None:
        self._index.append(encode_pack(pack_id, packed))
        self._indexed += len(packed)
        if self._indexed >= MAX_BLOBS:
            self._save_index()

    def _save_index(self) -> None:
        self._repository.save_unpacked(FileKind.INDEX, b'{"packs":[' + b",".join(self._index) + b"]}\n")
        self._index, self._indexed = [], 0


def measure(command: list[str]) -> tuple[Cost, str]:
    """The cost of the command, which must succeed, and what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "LIMPET_"))}
    environment = {**kept, "RESTIC_PASSWORD": PASSWORD, "LIMPET_PASSWORD": PASSWORD}
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    wall_s = time.monotonic() - started
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6), output


if __name__ == "__main__":
    main()

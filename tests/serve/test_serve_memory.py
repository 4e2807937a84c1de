"""The memory of `limpet serve` while a hundred clients upload 64 MiB each."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serve.cases import KINDS
from tests.serve.memory import MEMORY_LIMIT_BYTES, peak_memory_bytes
from tests.serve.wire import TIMEOUT_S, Wire, request
from tests.services.rest_server import LimpetServer, RestServer

MIB = 1 << 20
CLIENTS = 100
UPLOAD_BYTES = 64 * MIB
ROOM_BYTES = CLIENTS * UPLOAD_BYTES + 1024 * MIB


@pytest.mark.slow
def test_memory_of_a_hundred_uploads() -> None:
    """A hundred machines back up at night: the server's memory is what it was, however much they send at once."""
    with large_folder() as folder:
        server = LimpetServer(folder)
        try:
            for kind in KINDS:
                (server.data / "r" / kind).mkdir(parents=True)
            upload_at_once(server, folder)
            assert peak_memory_bytes(server) < MEMORY_LIMIT_BYTES
        finally:
            server.close()


@contextmanager
def large_folder() -> Iterator[Path]:
    """A folder with room for all that is uploaded, in memory where that has it; skips where nothing has."""
    for parent in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        if parent.is_dir() and shutil.disk_usage(parent).free > ROOM_BYTES:
            with tempfile.TemporaryDirectory(dir=parent) as name:
                yield Path(name)
            return
    pytest.skip(f"there is no room for {ROOM_BYTES >> 30} GiB")


def upload_at_once(server: RestServer, folder: Path) -> None:
    """So many clients upload a file each; all of them are in the middle of it at the same time."""
    end_bytes = 8
    common = hashlib.shake_128(b"a pack").digest(UPLOAD_BYTES - end_bytes)
    hash_of_common = hashlib.sha256(common)
    (folder / "common").write_bytes(common)
    start = threading.Barrier(CLIENTS, timeout=TIMEOUT_S)

    def upload(number: int) -> int:
        end = number.to_bytes(end_bytes, "big")
        whole = hash_of_common.copy()
        whole.update(end)
        with (folder / "common").open("rb") as body, Wire(server) as wire:
            length = [("Content-Length", str(UPLOAD_BYTES))]
            wire.send(request("POST", f"/r/data/{whole.hexdigest()}", length))
            half = len(common) // 2
            wire.socket.sendfile(body, 0, half)
            start.wait()
            wire.socket.sendfile(body, half)
            wire.send(end)
            return wire.answer("POST").status

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert list(pool.map(upload, range(CLIENTS))) == [200] * CLIENTS
    stored = [path.stat().st_size for path in (server.data / "r" / "data").rglob("*") if path.is_file()]
    assert stored == [UPLOAD_BYTES] * CLIENTS

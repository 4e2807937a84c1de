"""The claim table in C and its plain-Python twin: of all forked processes exactly one gets an id."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import pytest
from limpet.format import _claims_py, _native, _process_py

Table: TypeAlias = _native.ClaimTable | _claims_py.ClaimTable
BOTH: list[Callable[[], Table]] = [_native.ClaimTable, _claims_py.ClaimTable]
FIRST_SEGMENT_SLOTS = 16 * 1024
RACES = 20
PROCESSES = 4


def _fork(work: Callable[[], bytes]) -> tuple[int, int]:
    """Starts `work` in a forked process; its pid, and a descriptor from which its result is read."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_end)
            result = work()
            while result:
                result = result[os.write(write_end, result) :]
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    return pid, read_end


def _result(child: tuple[int, int]) -> bytes:
    pid, descriptor = child
    with os.fdopen(descriptor, "rb") as pipe:
        result = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return result


@pytest.mark.parametrize("make", BOTH)
def test_a_second_claim_is_refused(make: Callable[[], Table]) -> None:
    """A blob claimed twice is stored twice; one never claimed is lost."""
    table = make()
    # Ids that differ in one word only, and those of all zeros and all ones, go through every comparison.
    ids = [bytes(32), b"\xff" * 32, *(bytes(i) + b"\1" + bytes(31 - i) for i in range(32))]
    for number, blob_id in enumerate(ids):
        assert not table.contains(blob_id)
        assert table.claim(blob_id)
        assert not table.claim(blob_id)
        assert table.contains(blob_id)
        assert len(table) == number + 1


@pytest.mark.parametrize("make", BOTH)
def test_only_ids_are_taken(make: Callable[[], Table]) -> None:
    """A short id would read bytes behind it."""
    table = make()
    for call in (table.claim, table.contains):
        with pytest.raises(ValueError, match="32 bytes"):
            call(b"short")
        with pytest.raises(TypeError):
            call("0" * 32)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "count"), [(_native.ClaimTable, 12 * FIRST_SEGMENT_SLOTS), (_claims_py.ClaimTable, 20_000)]
)
def test_growth_over_segments_forgets_nothing(make: Callable[[], Table], count: int) -> None:
    """Backups have millions of blobs, many times the first segment."""
    table = make()
    ids = [os.urandom(32) for _ in range(count)]
    assert all(map(table.claim, ids))
    assert not any(map(table.claim, ids))
    assert all(map(table.contains, ids))
    assert not any(table.contains(os.urandom(32)) for _ in range(1000))
    assert len(table) == count


@pytest.mark.parametrize(("make", "count"), [(_native.ClaimTable, 60_000), (_claims_py.ClaimTable, 3_000)])
def test_of_racing_processes_exactly_one_gets_each_id(make: Callable[[], Table], count: int) -> None:
    """Two winners waste space; no winner loses the blob, and with it the file."""
    chance = random.Random(1)
    ids = [chance.randbytes(32) for _ in range(count)]
    for _ in range(RACES):
        if _winners_of_race(make(), ids) >= 2:
            return
    pytest.fail("one process won all, every time: no race took place")


def _winners_of_race(table: Table, ids: list[bytes]) -> int:
    """How many processes have won some ids; on a busy machine the first may be through before the second begins."""

    def claim_all(process: int) -> bytes:
        # Nearly the same order in each process, so that they meet at the same slots.
        mine = sorted(range(len(ids)), key=lambda number: number + random.random() * 20)
        won = bytearray(len(ids))
        table.claim(process.to_bytes(32, "big"))
        while len(table) < PROCESSES:
            time.sleep(0)  # all start together
        for number in mine:
            won[number] = table.claim(ids[number])
        return bytes(won)

    children = [_fork(partial(claim_all, process)) for process in range(PROCESSES)]
    results = [_result(child) for child in children]
    assert [sum(wins) for wins in zip(*results, strict=True)] == [1] * len(ids)
    assert len(table) == PROCESSES + len(ids)
    assert not any(map(table.claim, ids))
    return sum(any(result) for result in results)


def test_a_killed_process_blocks_nobody() -> None:
    """A worker may be killed between any two instructions; the others must go on at once."""
    table = _native.ClaimTable()

    def claim_forever() -> bytes:
        number = 0
        while True:
            table.claim(number.to_bytes(32, "big"))
            number += 1

    child = _fork(claim_forever)
    while len(table) < 1000:
        time.sleep(0.001)
    os.kill(child[0], signal.SIGKILL)
    os.waitpid(child[0], 0)
    os.close(child[1])
    claimed = len(table)
    # Of the id that it was claiming at that moment, either side of the claim is right.
    assert sum(not table.claim(number.to_bytes(32, "big")) for number in range(claimed + 1000)) in (
        claimed,
        claimed + 1,
    )


def test_memory_grows_with_the_ids() -> None:
    """The mapping is huge on paper; a backup of few files must not pay for it."""

    def shared_bytes_used() -> bytes:
        def resident() -> int:
            with open("/proc/self/status", encoding="ascii") as status:
                return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssShmem"))

        before = resident()
        table = _native.ClaimTable()
        for number in range(20_000):
            table.claim(number.to_bytes(32, "big"))
        return b"%d" % (resident() - before)

    if not os.path.exists("/proc/self/status"):
        pytest.skip("reads /proc")
    used = int(_result(_fork(shared_bytes_used)))
    assert 20_000 * 32 <= used < 20_000 * 32 * 6


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux can do it")
@pytest.mark.parametrize("die_with_parent", [_native.die_with_parent, _process_py.die_with_parent])
def test_workers_die_with_their_parent(die_with_parent: Callable[[], None]) -> None:
    """Workers that outlive a killed backup would keep files open and memory in use for ever."""

    def parent() -> bytes:
        grandchild = os.fork()
        if grandchild == 0:
            die_with_parent()
            time.sleep(60)
            os._exit(0)
        time.sleep(0.3)
        return b"%d" % grandchild

    # The pipe's end comes when the last process holding it is gone: long before the grandchild's minute is over.
    started = time.monotonic()
    int(_result(_fork(parent)))
    assert time.monotonic() - started < 30


def test_what_malloc_is_told_is_harmless() -> None:
    """Called by each worker at its start, and the other way round by the command, on every system."""
    _native.keep_freed_memory()
    _process_py.keep_freed_memory()
    _native.return_freed_memory()
    _process_py.return_freed_memory()
    assert len(bytearray(8 << 20)) == 8 << 20

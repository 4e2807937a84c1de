"""Benchmarks of storages: what is measured, what is suggested, and that nothing of it is left."""

from __future__ import annotations

import json
from pathlib import Path

import limpet
import pytest
from limpet.cli.main import main
from limpet.contracts.backend import CONFIG_HANDLE, Backend, Content, FileKind
from limpet.errors import BackendError, UsageError
from limpet.operations.benchmark import BenchmarkOptions, BenchmarkResult, CallTime, Load, benchmark
from limpet.storage.memory import MemoryBackend
from limpet.testing.backend import content_of, save_all

MIB = 1 << 20
QUICK = BenchmarkOptions(most_connections=3, seconds=0.02, most_bytes=2 * MIB)


def result_of(*loads: Load, save_s: float = 0.0) -> BenchmarkResult:
    """A result with these loads."""
    return BenchmarkResult([CallTime("save", save_s, save_s)], loads)


def test_measures_every_call_and_every_load() -> None:
    """Figures that are missing or zero suggest settings that suit nobody."""
    backend = MemoryBackend()
    opened: list[int] = []

    def open_with(connections: int) -> Backend:
        opened.append(connections)
        return backend

    result = benchmark(open_with, QUICK)
    assert [call.call for call in result.calls] == ["save", "stat", "load", "list", "remove"]
    assert all(0 < call.median_s <= call.worst_s for call in result.calls)
    assert [load.connections for load in result.loads] == [1, 2, 3]
    assert opened == [1, 1, 2, 3]
    assert all(min(load.upload_bps, load.download_bps, load.reads_per_s) > 0 for load in result.loads)
    assert backend.files == {}


def test_a_place_that_is_not_empty_is_left_alone() -> None:
    """The place is deleted afterwards: with somebody's repository in it that would be the end of it."""
    for kind in FileKind:
        backend = MemoryBackend()
        if kind is FileKind.CONFIG:
            backend.save(CONFIG_HANDLE, content_of(b"the config"))
        else:
            save_all(backend, kind, [b"a file"])
        before = dict(backend.files)
        with pytest.raises(UsageError, match="needs an empty place"):
            benchmark(lambda _connections, backend=backend: backend, QUICK)  # type: ignore[misc]
        assert backend.files == before


class FullBackend(MemoryBackend):
    """Has no more space after some files."""

    def save(self, handle: object, content: Content) -> None:
        if len(self.files) > 2:
            raise BackendError("no space left", permanent=True)
        super().save(handle, content)  # type: ignore[arg-type]


def test_nothing_is_left_where_it_fails() -> None:
    """A benchmark that breaks off must not leave gigabytes behind."""
    backend = FullBackend()
    with pytest.raises(BackendError, match="no space left"):
        benchmark(lambda _connections: backend, QUICK)
    assert backend.files == {}


def test_suggests_no_more_connections_than_help() -> None:
    """Connections that gain nothing cost memory, and some services count them."""
    one, two, four, eight = (Load(n, 10.0 * min(n, 4), 10.0 * min(n, 2), 10.0) for n in (1, 2, 4, 8))
    assert result_of(one, two, four, eight).suggest().connections == 4
    assert result_of(one).suggest().connections == 1
    noisy = Load(8, 41.0, 20.0, 10.5)
    assert result_of(one, two, four, noisy).suggest().connections == 4


@pytest.mark.parametrize(
    ("save_s", "rate_bps", "size_mib"),
    [(0.001, 100 * MIB, 16), (0.1, 1 * MIB, 16), (0.1, 10 * MIB, 32), (0.5, 5 * MIB, 64), (2.0, 100 * MIB, 128)],
)
def test_suggests_packs_that_outweigh_the_waiting(save_s: float, rate_bps: float, size_mib: int) -> None:
    """On a fast line to a far server small packs leave the line idle."""
    load = Load(1, rate_bps, rate_bps, 1.0)
    assert result_of(load, save_s=save_s).suggest().pack_size_bytes == size_mib * MIB


@pytest.mark.parametrize(
    "options",
    [BenchmarkOptions(most_connections=0), BenchmarkOptions(seconds=0), BenchmarkOptions(most_bytes=1000)],
)
def test_options_that_make_no_sense(options: BenchmarkOptions) -> None:
    """A division by zero is no answer."""
    with pytest.raises(UsageError):
        benchmark(lambda _connections: MemoryBackend(), options)


def state_of(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """What would show that something below the folder was touched."""
    states = {path: path.stat() for path in folder.rglob("*")}
    return {path: (state.st_ino, state.st_size, state.st_mtime_ns) for path, state in states.items()}


def test_a_repository_at_the_location_is_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """People measure the storage they use."""
    place = tmp_path / "repository"
    limpet.create_repository(str(place), "secret").close()
    before = state_of(place)
    arguments = ["backend", "benchmark", "--max-connections=2", "--measure-time=20ms", "--measure-size=1M"]
    assert main([*arguments, str(place)]) == 0
    text = capsys.readouterr().out
    assert "suggested: -o local.connections=" in text
    monkeypatch.setenv("LIMPET_REPOSITORY", str(place))
    assert main(["--json", "-o", "local.connections=7", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["location"] == str(place)
    assert [load["connections"] for load in document["loads"]] == [1, 2]
    assert document["suggestion"]["options"]["local.connections"] in {1, 2}
    assert limpet.benchmark(place, QUICK).suggest().pack_size_bytes >= 16 * MIB
    assert state_of(place) == before

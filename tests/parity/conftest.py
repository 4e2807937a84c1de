"""Both programs, and the repositories, made once for each test process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from limpet.testing.restic import Restic

from tests.parity import repositories
from tests.parity.comparison import Normaliser
from tests.parity.programs import (
    Ended,
    LimpetProgram,
    Program,
    ResticProgram,
    Started,
    start,
    start_on_terminal,
)
from tests.parity.repositories import Maker, Place

HARMS: dict[str, Callable[[Place], None]] = {
    "missing-pack": repositories.remove_first_pack,
    "flipped-pack": repositories.flip_in_pack,
    "cut-pack": repositories.cut_pack,
    "no-index": repositories.remove_indexes,
    "leftovers": repositories.forget_an_index,
    "bad-index": repositories.damage_index,
    "bad-snapshot": repositories.damage_snapshot,
    "locked": repositories.lock_by_other,
}


@pytest.fixture(scope="session")
def limpet() -> Iterator[LimpetProgram]:
    """Limpet."""
    program = LimpetProgram()
    yield program
    program.close()


@pytest.fixture(scope="session")
def restic(restic_new: Restic) -> ResticProgram:
    """Real restic 0.19."""
    return ResticProgram(restic_new.binary)


REPAIR_PACKS = ["repair", "packs"]
"""Leaves copies of packs where it is run: each program has a folder of its own for it."""


class Places:
    """The repositories by name, made when they are first asked for."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._made = {"history": maker.history()}

    @property
    def folder(self) -> Path:
        """Where the programs are run: the folder with the files that are backed up."""
        return self._maker.folder

    def __getitem__(self, name: str) -> Place:
        if name not in self._made:
            history = self._made["history"]
            self._made[name] = (
                self._maker.empty() if name == "empty" else self._maker.damaged(name, history, HARMS[name])
            )
            self._made[name].names.update(history.names)
        return self._made[name]

    def for_program(self, name: str, program: Program) -> Place:
        """A copy that this program may read at any time."""
        key = f"{name}-{program.name}"
        if key not in self._made:
            self._made[key] = self[name].copy(self.folder / key)
        return self._made[key]


@pytest.fixture(scope="session")
def places(restic: ResticProgram, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """The repositories."""
    return Places(Maker(restic, tmp_path_factory.mktemp("parity")))


@dataclass(frozen=True, slots=True)
class Both:
    """Runs command lines with both programs."""

    programs: Sequence[Program]
    places: Places
    scratch: Path

    def start_in(self, repository: str, *, writes: bool) -> list[Place]:
        """Where each program works: in a copy of its own, which is made for this test alone if they write."""
        if not writes:
            return [self.places.for_program(repository, program) for program in self.programs]
        return [self.places[repository].copy(self.scratch / program.name) for program in self.programs]

    def run(
        self,
        line: Sequence[str],
        places: Sequence[Place],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        on_terminal: bool = False,
    ) -> list[tuple[Ended, Normaliser]]:
        """How the command ended with restic and with Limpet, which run at the same time."""
        started = [
            self.start(program, line, place, env=env, stdin=stdin, on_terminal=on_terminal)
            for program, place in zip(self.programs, places, strict=True)
        ]
        known_ids = self.places["history"].ids()
        return [
            (one.finish(), Normaliser(str(place.folder), place.ids() & known_ids))
            for one, place in zip(started, places, strict=True)
        ]

    def start(
        self,
        program: Program,
        line: Sequence[str],
        place: Place,
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        on_terminal: bool = False,
    ) -> Started:
        """The command, started with one of them."""
        names = {**place.names, "place": str(place.folder)}
        arguments = ["--no-cache", *(part.format_map(names) for part in line)]
        variables = {"RESTIC_REPOSITORY": str(place.repository), **(env or {})}
        cwd = place.folder if line[:2] == REPAIR_PACKS else self.places.folder
        if on_terminal:
            return start_on_terminal(program, arguments, cwd=cwd, env=variables)
        return start(program, arguments, cwd=cwd, streams=place.folder, env=variables, stdin=stdin)


@pytest.fixture
def both(restic: ResticProgram, limpet: LimpetProgram, places: Places, tmp_path: Path) -> Both:
    """Both programs."""
    return Both((restic, limpet), places, tmp_path)

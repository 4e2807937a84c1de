"""What the fault tests share: the source, real servers, and sites that reach their repositories through a proxy."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.resilience.stores import Store
from tests.safety.files import write_tree
from tests.safety.program import Site

OpenSite = Callable[[Store, int], Site]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 MiB in 90 files: with small packs, some of them a pack each."""
    folder = tmp_path_factory.mktemp("resilience") / "source"
    folder.mkdir()
    write_tree(folder, seed=4, small=60, large_mib=0)
    for number in range(30):
        (folder / f"a-pack-{number}").write_bytes(random.Random(number).randbytes(257 * 1024))
    return folder


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Servers and proxies of one test, ended in the opposite order."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def site_at(tmp_path: Path, closing: ExitStack) -> OpenSite:
    """Makes the site whose commands reach the store over a port: its own, or that of a proxy before it."""

    def make(store: Store, port: int) -> Site:
        site = Site(tmp_path)
        site.repository = store.files
        site.variables = {**store.environment, "LIMPET_REPOSITORY": store.location(port)}
        closing.callback(site.close)
        return site

    return make

"""The fences around plugins: nothing of the contract is lost on the way through."""

from __future__ import annotations

from limpet.contracts.source import Source
from limpet.registry.contained_source import ContainedSource

OF_THE_CLASS = {"contract_version", "options", "reads_frozen", "destination"}
"""Asked of a source's class, before there is anything to be contained."""


def test_all_that_a_source_says_passes_its_fence() -> None:
    """What is forgotten falls back to the default: hard links in frozen copies looked new in every snapshot."""
    public = {name for name in vars(Source) if not name.startswith("_")} - OF_THE_CLASS
    assert public - vars(ContainedSource).keys() == set()

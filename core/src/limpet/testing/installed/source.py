"""The conformance suite of sources with what a user has to be backed up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from limpet import registry
from limpet.contracts.source import Source, SourceRequest
from limpet.errors import LimpetError
from limpet.registry.kinds import PluginKind
from limpet.testing.installed import wanted, wanted_options
from limpet.testing.source import SourceConformance


def request_for(arguments: Sequence[str]) -> SourceRequest:
    """As a backup of these arguments asks for it."""
    return SourceRequest(tuple(arguments), dict(wanted_options(PluginKind.SOURCE)))


class TestInstalledSource(SourceConformance):
    """Whatever source is named, opened anew for each test."""

    @pytest.fixture
    def source(self) -> Iterator[Source]:
        source = registry.source(wanted()["name"]).open(request_for(wanted()["arguments"]))
        yield source
        source.close()

    @pytest.fixture
    def bad_request(self) -> SourceRequest:
        """An empty argument, as in `limpet backup zip:`; skipped where the source takes that for something."""
        request = request_for([""])
        if makes_sense(registry.source(wanted()["name"]), request):
            pytest.skip("an empty argument means something to this source")
        return request


def makes_sense(kind: type[Source], request: SourceRequest) -> bool:
    """Whether the source finds something to be saved, none of which is read."""
    try:
        source = kind.open(request)
    except LimpetError:
        return False
    try:
        source.begin(None)
        return bool(source.targets())
    except LimpetError:
        return False
    finally:
        source.close()

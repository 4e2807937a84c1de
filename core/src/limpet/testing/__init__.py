"""Conformance suites for plugins, shipped with the core; import them in tests only.

`pytest` is not a dependency of the core: the distribution that runs a suite asks for it.
"""

from limpet.testing.backend import BackendConformance
from limpet.testing.command import CommandConformance
from limpet.testing.hook import HookConformance
from limpet.testing.site import Site
from limpet.testing.source import SourceConformance

__all__ = ["BackendConformance", "CommandConformance", "HookConformance", "Site", "SourceConformance"]

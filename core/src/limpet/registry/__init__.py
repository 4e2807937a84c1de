"""Plugins by name: what is installed, one of them loaded alone, its options read, its contract checked."""

from limpet.registry.kinds import PluginKind
from limpet.registry.loading import is_installed, names
from limpet.registry.location import Location, redact, redact_arguments
from limpet.registry.opening import (
    backend,
    backend_location,
    command,
    connections_option,
    hooks,
    location_below,
    open_backend,
    open_destination,
    open_source,
    parse_options,
    scratch_location,
    source,
    source_argument,
    source_folders,
    source_options,
)

__all__ = [
    "Location",
    "PluginKind",
    "backend",
    "backend_location",
    "command",
    "connections_option",
    "hooks",
    "is_installed",
    "location_below",
    "names",
    "open_backend",
    "open_destination",
    "open_source",
    "parse_options",
    "redact",
    "redact_arguments",
    "scratch_location",
    "source",
    "source_argument",
    "source_folders",
    "source_options",
]

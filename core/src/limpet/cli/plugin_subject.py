"""What `limpet plugin check` is to check, looked at before its suite runs: a mistake is no failed check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from limpet import registry
from limpet.cli.plugin_check import Subject
from limpet.contracts.transport import Transport
from limpet.errors import UsageError
from limpet.operations.emptiness import require_empty
from limpet.registry.kinds import PluginKind
from limpet.registry.loading import aliases, is_installed


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What the user said, for whatever kind of plugin."""

    name: str
    kind: PluginKind | None
    """Only wanted where plugins of several kinds have the name."""
    location: str | None
    arguments: Sequence[str]
    options: Mapping[str, str]
    transport: Transport


def subject_of(request: CheckRequest) -> Subject:
    """The plugin, with all that its suite needs; UsageError, or the plugin's own error, where it cannot begin."""
    kind = _kind(request)
    if request.location is not None and kind is not PluginKind.BACKEND:
        raise UsageError(f"{request.name!r} is a {kind.value}: --location is for backends")
    if request.arguments and kind is not PluginKind.SOURCE:
        raise UsageError(f"{request.name!r} is a {kind.value}: --argument is for sources")
    given: Mapping[str, object] = {"name": request.name, "options": dict(request.options)}
    return Subject(kind, request.name, {**given, **_LOOKED_AT[kind](request)})


def _kind(request: CheckRequest) -> PluginKind:
    if request.kind is not None:
        return request.kind
    kinds = [kind for kind in PluginKind if is_installed(kind, request.name)]
    if not kinds:
        raise UsageError(f"no plugin is called {request.name!r}; `limpet plugin list` shows those that are installed")
    if len(kinds) > 1:
        words = " and a ".join(kind.value for kind in kinds)
        raise UsageError(f"{request.name!r} is the name of a {words}: say which with --kind")
    return kinds[0]


def _backend(request: CheckRequest) -> Mapping[str, object]:
    """The location, which is one of the backend's, and empty."""
    if request.location is None:
        raise UsageError(f"say with --location where {request.name!r} may write: an empty place, as for -r")
    scheme = registry.backend_location(request.location).scheme
    if scheme not in aliases(PluginKind.BACKEND, request.name):
        shown = registry.redact(request.location)
        raise UsageError(f"{shown!r} is a location of the backend {scheme!r}, not of {request.name!r}")
    backend = registry.open_backend(request.location, request.options, request.transport)
    try:
        require_empty(backend, "a check")
    finally:
        backend.close()
    return {"location": request.location, "transport": asdict(request.transport)}


def _source(request: CheckRequest) -> Mapping[str, object]:
    """The arguments, which the source takes."""
    if not request.arguments:
        raise UsageError(
            f"say with --argument what {request.name!r} is to read: what follows {request.name}: in a backup"
        )
    from limpet.contracts.source import SourceRequest  # noqa: PLC0415  # only here

    values = registry.source_options(request.name, request.options)
    registry.open_source(request.name, SourceRequest(tuple(request.arguments), values)).close()
    return {"arguments": list(request.arguments)}


def _hook(request: CheckRequest) -> Mapping[str, object]:
    """Nothing more; it starts with the options."""
    from limpet.registry.hook_calls import build_hooks  # noqa: PLC0415  # brings pluggy

    build_hooks([request.name], request.options, run=None, reporter=None)
    return {}


def _command(request: CheckRequest) -> Mapping[str, object]:
    """Nothing more; it can be made."""
    registry.command(request.name)
    return {}


_LOOKED_AT: Mapping[PluginKind, Callable[[CheckRequest], Mapping[str, object]]] = {
    PluginKind.BACKEND: _backend,
    PluginKind.SOURCE: _source,
    PluginKind.HOOK: _hook,
    PluginKind.COMMAND: _command,
}

"""A backend, a source or a command ready for use: found by name, its options read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from limpet.contracts.options import Option, OptionValue
from limpet.errors import LimpetError, PluginError, UsageError
from limpet.operations.hooks import NoHooks, RunHooks
from limpet.registry.kinds import PluginKind
from limpet.registry.loading import aliases, is_installed, load, names
from limpet.registry.location import PATH, Location, redact, split_argument, split_location
from limpet.registry.option_values import option_values, parse_assignments
from limpet.registry.plugin_calls import plugin_calls

if TYPE_CHECKING:
    import click

    from limpet.contracts.backend import Backend
    from limpet.contracts.destination import Destination
    from limpet.contracts.hooks import RunInfo
    from limpet.contracts.source import Source, SourceRequest
    from limpet.contracts.transport import Transport
    from limpet.progress import Reporter

T = TypeVar("T")

HOOKS_VARIABLE = "LIMPET_HOOKS"
RESTIC_BACKENDS = frozenset({"local", "sftp", "rest", "s3", "swift", "b2", "azure", "gs", "rclone"})
"""Scripts for restic set the options of all of them, whichever they use: restic ignores those of the others."""


def backend(scheme: str) -> type[Backend]:
    """The backend class for locations of this scheme; errors as `load`."""
    return cast("type[Backend]", load(PluginKind.BACKEND, scheme))


def source(scheme: str) -> type[Source]:
    """The source class for arguments of this scheme; errors as `load`."""
    return cast("type[Source]", load(PluginKind.SOURCE, scheme))


def command(name: str) -> click.Command:
    """The click command of the plugin called `name`; errors as `load`."""
    plugin = load(PluginKind.COMMAND, name)
    try:
        made: click.Command = plugin.click_command()  # type: ignore[attr-defined]
    except Exception as error:
        raise PluginError(f"command plugin {name!r} failed: {type(error).__name__}: {error}") from error
    return made


def backend_location(location: str) -> Location:
    """What `location` names: the scheme of an installed backend and the rest. Errors as `split_location`."""
    return split_location(location, lambda scheme: is_installed(PluginKind.BACKEND, scheme))


def source_argument(argument: str) -> Location:
    """What one argument of a backup names: an installed source's scheme and the rest, or a path."""
    return split_argument(argument, lambda scheme: is_installed(PluginKind.SOURCE, scheme))


def open_backend(
    location: str, options: Mapping[str, str] | None = None, transport: Transport | None = None
) -> Backend:
    """The backend at the location, opened with those of the given options that are its own.

    `options` are values by full name (`{"s3.region": "eu"}`), `transport` is for those that talk to a server; calls
    that hang are given up as it says, by the backend itself or from outside where it asks for that. UsageError for an
    unknown scheme or option, PluginError for a plugin that is broken; no message holds the location's secrets.
    """
    parsed = backend_location(location)
    plugin = backend(parsed.scheme)
    values = plugin_options(PluginKind.BACKEND, parsed.scheme, plugin.options, options or {})
    from limpet.contracts.transport import DEFAULT_TRANSPORT  # noqa: PLC0415  # here with every backend

    transport = transport or DEFAULT_TRANSPORT
    opened = _opened(
        PluginKind.BACKEND, parsed.scheme, [parsed.rest], lambda: plugin.open(parsed.rest, values, transport)
    )
    from limpet.registry.contained_backend import ContainedBackend  # noqa: PLC0415  # brings the wrappers

    return _watched(ContainedBackend(parsed.scheme, opened), transport.stuck_request_timeout_s)


def open_source(scheme: str, request: SourceRequest) -> Source:
    """The source of this scheme, opened for the request; PluginError for one that is broken, else as its `open`."""
    plugin = source(scheme)
    opened = _opened(PluginKind.SOURCE, scheme, request.targets, lambda: plugin.open(request), request.reporter)
    from limpet.registry.contained_source import ContainedSource  # noqa: PLC0415  # few commands have sources

    return ContainedSource(scheme, opened, request.reporter)


def scratch_location(location: str) -> str:
    """A location inside this one that nobody uses yet: a folder or prefix with a random name; errors as `backend`."""
    return location_below(location, f"limpet-scratch-{os.urandom(8).hex()}")


def location_below(location: str, name: str) -> str:
    """The location of the folder or prefix called `name` inside this one; errors as `backend`."""
    parsed = backend_location(location)
    rest = backend(parsed.scheme).below(parsed.rest, name)
    return rest if parsed.scheme == PATH else f"{parsed.scheme}:{rest}"


def connections_option(location: str) -> str | None:
    """The full name of the option for the number of connections, such as `s3.connections`, if there is one."""
    scheme = backend_location(location).scheme
    if all(option.name != "connections" for option in backend(scheme).options):
        return None
    own_name = min(aliases(PluginKind.BACKEND, scheme), key=lambda alias: (alias == PATH, alias))
    return f"{own_name}.connections"


def _opened(
    kind: PluginKind, scheme: str, places: Sequence[str], call: Callable[[], T], reporter: Reporter | None = None
) -> T:
    """What the plugin opens; PluginError, without secrets, for what it raises beyond its contract."""
    plugin = f"the {kind.value} plugin {scheme!r}"
    # Each for itself: a password in the second of two is none by the looks of both together.
    argument = Location(scheme, " ".join(map(redact, places)))
    with plugin_calls.during(plugin, f"open {argument}", PluginError, reporter):
        try:
            return call()
        except LimpetError:
            raise
        except Exception as error:
            reason = str(error)
            for place in filter(None, places):
                reason = reason.replace(place, redact(place))
            reason = " ".join(reason.split()) or "no reason given"
            raise PluginError(f"{plugin} could not open {argument}: {type(error).__name__}: {reason}") from error


def _watched(opened: Backend, timeout_s: float | None) -> Backend:
    """The backend, inside a watchdog where it cannot limit the time of its calls itself."""
    if timeout_s is None or not opened.properties.needs_watchdog:
        return opened
    from limpet.storage.watchdog import WatchdogBackend  # noqa: PLC0415  # few backends need it

    return WatchdogBackend(opened, timeout_s=timeout_s)


def source_options(scheme: str, options: Mapping[str, str] | None = None) -> dict[str, OptionValue]:
    """The values a source of this scheme is opened with, from full names, the environment and the defaults."""
    return plugin_options(PluginKind.SOURCE, scheme, source(scheme).options, options or {})


def open_destination(
    location: str,
    options: Mapping[str, str] | None = None,
    *,
    reporter: Reporter | None = None,
    own_places: Sequence[str] = (),
) -> Destination:
    """The destination that `SCHEME:PLACE` names: the way back of the source of that name.

    UsageError for another form and for a source that knows no way back, PluginError for one that is broken.
    """
    argument = source_argument(location)
    plugin = source(argument.scheme)
    if plugin.destination is None or argument.scheme == PATH:
        hint = "; for a folder there is --target" if argument.scheme == PATH else ""
        raise UsageError(f"{argument} is not something that files can be restored into{hint}")
    from limpet.contracts.destination import DestinationRequest  # noqa: PLC0415  # few restores need it

    values = source_options(argument.scheme, options)
    request = DestinationRequest(argument.rest, values, reporter, tuple(own_places))
    opens = plugin.destination.open
    opened = _opened(PluginKind.SOURCE, argument.scheme, [argument.rest], lambda: opens(request), reporter)
    from limpet.registry.contained_destination import ContainedDestination  # noqa: PLC0415  # as above

    return ContainedDestination(argument.scheme, opened, reporter)


def source_folders(argument: str) -> Sequence[str]:
    """The folders of a snapshot where the source of such an argument puts what it delivers, as is the custom."""
    return [f"/{name}" for name in aliases(PluginKind.SOURCE, source_argument(argument).scheme)]


def plugin_options(
    kind: PluginKind, name: str, declared: Sequence[Option], options: Mapping[str, str]
) -> dict[str, OptionValue]:
    """The values of one plugin's options; every name it is registered under may be the prefix."""
    own_names = aliases(kind, name)
    # Its own name before the role it fills: that is the one people type and messages show.
    return option_values(sorted(own_names, key=lambda alias: (alias == PATH, alias)), declared, options)


def parse_options(assignments: Sequence[str]) -> dict[str, str]:
    """`-o` arguments by full name, each for a plugin that is installed or for a backend of restic's.

    UsageError for a bad form and for any other prefix: a typing mistake must not pass unseen.
    """
    given = parse_assignments(assignments)
    if given:
        known = {name for kind in PluginKind for name in names(kind)}
        for key in given:
            prefix = key.partition(".")[0]
            if prefix not in known | RESTIC_BACKENDS:
                raise UsageError(
                    f"option {key!r}: no plugin is called {prefix!r} (installed: {', '.join(sorted(known))})"
                )
    return given


def hooks(
    options: Mapping[str, str] | None = None,
    enabled: Sequence[str] = (),
    *,
    run: RunInfo | Callable[[], RunInfo] | None = None,
    reporter: Reporter | None = None,
) -> RunHooks:
    """The hooks of a run, built and ready to be called; errors as `build_hooks`.

    A hook takes part if it is named: in `enabled` (`--hook NAME`), in LIMPET_HOOKS (names with commas between),
    or by any option of its own (`-o NAME.option=value`). Being installed alone turns no hook on.
    """
    options = options or {}
    by_environment = [name.strip() for name in os.environ.get(HOOKS_VARIABLE, "").split(",") if name.strip()]
    prefixes = {key.partition(".")[0] for key in options}
    by_option = [name for name in names(PluginKind.HOOK) if name in prefixes] if prefixes else []
    wanted = list(dict.fromkeys([*enabled, *by_environment, *by_option]))
    if not wanted:
        return NoHooks()
    from limpet.registry.hook_calls import build_hooks  # noqa: PLC0415  # brings pluggy

    return build_hooks(wanted, options, run=run() if callable(run) else run, reporter=reporter)

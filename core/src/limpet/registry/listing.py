"""What is installed: every plugin with its distribution, its options, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions

from limpet.contracts.options import Option
from limpet.errors import PluginError, UsageError
from limpet.registry.kinds import PluginKind
from limpet.registry.loading import load_entry_point


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One installed plugin. `error` says in one line why it cannot be used; the rest is what could be learnt."""

    kind: PluginKind
    name: str
    target: str
    """`module:Class` of the entry point."""
    distribution: str
    version: str
    summary: str = ""
    """First line of the class's docstring."""
    contract_version: int | None = None
    options: Sequence[Option] = ()
    error: str | None = None


def plugins() -> Sequence[PluginInfo]:
    """Every installed plugin, sorted by kind and name. Imports them all; a broken one breaks no other."""
    found = _installed()
    order = list(PluginKind)
    taken: dict[tuple[PluginKind, str], set[str]] = {}
    for kind, entry_point, _, _ in found:
        taken.setdefault((kind, entry_point.name), set()).add(entry_point.value)
    infos = {
        (kind, entry_point.name, entry_point.value): _info(
            kind, entry_point, distribution, version, taken[kind, entry_point.name] - {entry_point.value}
        )
        for kind, entry_point, distribution, version in found
    }
    return sorted(infos.values(), key=lambda info: (order.index(info.kind), info.name, info.target))


def plugins_called(name: str) -> Sequence[PluginInfo]:
    """Those called `name`, of every kind; UsageError if there is none."""
    called = [info for info in plugins() if info.name == name]
    if not called:
        raise UsageError(f"no plugin is called {name!r}; `limpet plugin list` shows those that are installed")
    return called


def _installed() -> Sequence[tuple[PluginKind, EntryPoint, str, str]]:
    # Stevedore's look-up leaves out which distribution a plugin came from, so this one goes to the source.
    kinds = {kind.group: kind for kind in PluginKind}
    found = []
    seen: set[str] = set()
    for distribution in distributions():
        name = distribution.metadata["Name"] or "unknown"
        if name in seen:  # Shadowed by one that comes earlier on the path.
            continue
        seen.add(name)
        for entry_point in distribution.entry_points:
            if entry_point.group in kinds:
                found.append((kinds[entry_point.group], entry_point, name, distribution.version))
    return found


def _info(kind: PluginKind, entry_point: EntryPoint, distribution: str, version: str, rivals: set[str]) -> PluginInfo:
    base = PluginInfo(kind, entry_point.name, entry_point.value, distribution, version)
    if rivals:
        return _with_error(base, f"the name is also taken by {' and '.join(sorted(rivals))}; uninstall one of them")
    try:
        plugin = load_entry_point(kind, entry_point)
    except PluginError as error:
        return _with_error(base, str(error))
    return PluginInfo(
        kind,
        entry_point.name,
        entry_point.value,
        distribution,
        version,
        summary=(plugin.__doc__ or "").strip().partition("\n")[0],
        contract_version=plugin.contract_version,  # type: ignore[attr-defined]
        options=declared_options(kind, plugin),
    )


def _with_error(base: PluginInfo, error: str) -> PluginInfo:
    return PluginInfo(base.kind, base.name, base.target, base.distribution, base.version, error=error)


def declared_options(kind: PluginKind, plugin: type) -> Sequence[Option]:
    """The options a plugin declares, and for a hook the one that every hook has."""
    options: Sequence[Option] = plugin.options  # type: ignore[attr-defined]
    if kind is not PluginKind.HOOK:
        return tuple(options)
    from limpet.contracts.hooks import ON_ERROR  # noqa: PLC0415

    has_own = any(option.name == ON_ERROR.name for option in options)
    return tuple(options) if has_own else (*options, ON_ERROR)

"""One plugin by its name: found by stevedore, loaded alone, and held to its contract."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, cast

from limpet.errors import PluginError, UsageError
from limpet.registry.kinds import PluginKind, base_class, contract_version

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@cache
def entry_points(kind: PluginKind) -> Sequence[EntryPoint]:
    """Every entry point of the kind's group that is installed; none is imported."""
    from stevedore.named import NamedExtensionManager  # noqa: PLC0415  # 45 ms: only paid where a plugin is looked for

    nothing_loaded: NamedExtensionManager[object] = NamedExtensionManager(kind.group, names=[])
    return tuple(nothing_loaded.list_entry_points())


def names(kind: PluginKind) -> Sequence[str]:
    """The names of all installed plugins of the kind, sorted, broken ones too."""
    return sorted({entry_point.name for entry_point in entry_points(kind)})


def is_installed(kind: PluginKind, name: str) -> bool:
    """Whether a plugin of this name is there, working or not."""
    return any(entry_point.name == name for entry_point in entry_points(kind))


def aliases(kind: PluginKind, name: str) -> Sequence[str]:
    """All names under which the plugin called `name` is registered, itself included, sorted.

    A plugin that fills a role of the core is registered twice: by its own name and by the role's.
    """
    targets = {entry_point.value for entry_point in entry_points(kind) if entry_point.name == name}
    return sorted({entry_point.name for entry_point in entry_points(kind) if entry_point.value in targets})


@cache
def load(kind: PluginKind, name: str) -> type:
    """The class of the plugin called `name`, which fulfils the kind's contract; no other plugin is imported.

    UsageError if there is none, naming what to install; PluginError if it is broken, naming where it is.
    """
    candidates = [entry_point for entry_point in entry_points(kind) if entry_point.name == name]
    if not candidates:
        raise UsageError(_unknown(kind, name))
    if len(candidates) > 1:
        places = " and ".join(sorted(entry_point.value for entry_point in candidates))
        raise PluginError(f"two {kind.value} plugins are called {name!r}: {places}; uninstall one of them")
    plugin = _import(kind, name)
    problem = _broken_contract(kind, plugin)
    if problem is not None:
        raise PluginError(f"{kind.value} plugin {name!r} ({candidates[0].value}) cannot be used: {problem}")
    return cast(type, plugin)


def load_entry_point(kind: PluginKind, entry_point: EntryPoint) -> type:
    """The class that one entry point names, checked like `load`; for a listing, where names may be taken twice."""
    try:
        plugin = entry_point.load()
    except (Exception, SystemExit) as error:  # some module ends the process when a setting is missing
        raise PluginError(f"cannot be imported: {_one_line(error)}") from error
    problem = _broken_contract(kind, plugin)
    if problem is not None:
        raise PluginError(problem)
    return cast(type, plugin)


def _import(kind: PluginKind, name: str) -> object:
    from stevedore.driver import DriverManager  # noqa: PLC0415

    failures: list[BaseException] = []
    try:
        manager: DriverManager[object] = DriverManager(
            kind.group,
            name,
            on_load_failure_callback=lambda _manager, _entry_point, error: failures.append(error),
        )
    except (Exception, SystemExit) as error:  # some module ends the process when a setting is missing
        cause = failures[0] if failures else error
        raise PluginError(f"{kind.value} plugin {name!r} cannot be imported: {_one_line(cause)}") from cause
    return manager.extensions[0].plugin


def _broken_contract(kind: PluginKind, plugin: object) -> str | None:
    base = base_class(kind)
    if not isinstance(plugin, type) or not issubclass(plugin, base):
        return f"it is not a class derived from {base.__module__}.{base.__name__}"
    # What the contract class itself says is no statement of the plugin: it always matches.
    stated = [vars(cls)["contract_version"] for cls in plugin.__mro__ if "contract_version" in vars(cls)][:-1]
    expected = contract_version(kind)
    if not stated:
        return f"it does not state the contract it was built for (`contract_version = {expected}`)"
    if stated[0] != expected:
        return f"it was built for version {stated[0]} of the {kind.value} contract, this Limpet has version {expected}"
    missing = sorted(getattr(plugin, "__abstractmethods__", ()))
    if missing:
        return f"it lacks {', '.join(missing)}"
    return None


def _unknown(kind: PluginKind, name: str) -> str:
    known = ", ".join(names(kind)) or "none"
    return (
        f"no {kind.value} plugin is called {name!r}; install it with `pip install {kind.distribution(name)}`"
        f" (installed: {known})"
    )


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__

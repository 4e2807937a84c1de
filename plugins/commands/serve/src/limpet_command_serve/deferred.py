"""Modules that others import but a small server never uses: imported when somebody does, and not before.

`dataclasses` and `asyncio` name two of these in their first lines, for what they do with classes without a docstring
and with child processes. They and what they import take 1 MB of the server's 17.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType

_PIPES = {"PIPE": -1, "STDOUT": -2, "DEVNULL": -3}
"""What asyncio takes from `subprocess` when it is imported itself."""
_CO_COROUTINE = 0x80
"""The flag of code, see the module `inspect`."""


def defer_imports() -> None:
    """Put `inspect` and `subprocess` off. Before anything imports them."""
    _defer("inspect", {"iscoroutinefunction": _is_coroutine_function})
    _defer("subprocess", _PIPES)


def _is_coroutine_function(thing: object) -> bool:
    """Whether to call it makes a coroutine; asyncio asks that of each handler of a signal."""
    function = getattr(thing, "__func__", thing)
    return isinstance(function, FunctionType) and bool(function.__code__.co_flags & _CO_COROUTINE)


def _defer(name: str, known: Mapping[str, object]) -> None:
    """Have a module in the module's place that has what is known, and gets the rest from the real one."""
    if name in sys.modules:
        return
    deferred = ModuleType(name)

    def find(attribute: str) -> object:
        if attribute.startswith("__"):  # The machinery of imports looks for its own.
            raise AttributeError(attribute)
        if sys.modules.get(name) is deferred:
            del sys.modules[name]
            __import__(name)
        return getattr(sys.modules[name], attribute)

    deferred.__dict__.update(known, __getattr__=find)
    sys.modules[name] = deferred

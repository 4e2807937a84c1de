"""Checks of what a plugin declares: the contract it was built for, and its options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

from limpet.contracts.options import Option, OptionType, OptionValue

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_TYPES: dict[OptionType, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "number": (int, float),
    "duration": (int, float),
    "size": (int,),
}


def check_stated_contract(plugin: type, expected: int) -> None:
    """AssertionError unless the plugin itself says which contract it was built for, as the registry demands."""
    stated = [vars(cls)["contract_version"] for cls in plugin.__mro__ if "contract_version" in vars(cls)]
    assert stated[:-1], f"state `contract_version = {expected}` in the class {plugin.__name__} itself"
    assert stated[0] == expected


def check_declared_options(options: Sequence[Option]) -> None:
    """AssertionError naming the first declaration that is wrong."""
    names = [option.name for option in options]
    assert len(names) == len(set(names)), f"an option is declared twice: {sorted(names)}"
    for option in options:
        assert _NAME.fullmatch(option.name), f"option {option.name!r}: lower case, for keys are made lower case"
        assert option.help.strip(), f"option {option.name}: no help"
        assert option.type in get_args(OptionType), f"option {option.name}: unknown type {option.type!r}"
        assert _fits(option.default, option.type), f"option {option.name}: the default is no {option.type}"
        assert option.environment is None or _VARIABLE.fullmatch(option.environment), (
            f"option {option.name}: {option.environment!r} is no variable's name"
        )
        assert not (option.secret and option.default), f"option {option.name}: a secret with a default is none"


def _fits(value: OptionValue, kind: OptionType) -> bool:
    if value is None:
        return True
    return isinstance(value, _TYPES[kind]) and (kind == "boolean") == isinstance(value, bool)

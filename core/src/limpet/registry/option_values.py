"""Options of plugins: `-o plugin.name=value` and the environment become values of the declared types."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from limpet.contracts.options import Option, OptionType, OptionValue
from limpet.errors import UsageError

_TRUE = frozenset({"1", "t", "true", "yes", "on"})
_FALSE = frozenset({"0", "f", "false", "no", "off"})
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d))")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+)\s*(?:([kmgt])(?:i?b)?|b)?", re.IGNORECASE)
_SIZE_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """`["s3.region=eu"]` as `{"s3.region": "eu"}`; keys in lower case, as restic has them.

    UsageError where there is no key, no plugin's name before a dot, or two different values for one key.
    """
    given: dict[str, str] = {}
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        key, value = key.strip().lower(), value.strip()
        plugin, dot, name = key.partition(".")
        if not (plugin and dot and name):
            raise UsageError(f"option {key!r} is not of the form PLUGIN.NAME=VALUE")
        if given.get(key, value) != value:
            raise UsageError(f"option {key!r} is given twice with different values")
        given[key] = value
    return given


def option_values(
    plugin_names: Sequence[str],
    declared: Sequence[Option],
    given: Mapping[str, str],
    environ: Mapping[str, str] | None = None,
) -> dict[str, OptionValue]:
    """A value of its declared type for every option that is declared: given, from the environment, or the default.

    `plugin_names` are the prefixes that count as this plugin's. UsageError for an option that is not declared
    and for a text that is no value of the type.
    """
    environ = os.environ if environ is None else environ
    by_name = {option.name: option for option in declared}
    own: dict[str, str] = {}
    for key, text in given.items():
        plugin, _, name = key.partition(".")
        if plugin not in plugin_names:
            continue
        if name not in by_name:
            raise UsageError(f"option {key!r} is not known; {_possible(plugin, declared)}")
        own[name] = text
    values: dict[str, OptionValue] = {}
    for option in declared:
        if option.name in own:
            values[option.name] = parse_value(option, own[option.name], f"option {plugin_names[0]}.{option.name}")
        elif (variable := _variable_in_use(option, environ)) is not None:
            values[option.name] = parse_value(option, environ[variable], f"${variable}")
        else:
            values[option.name] = option.default
    return values


def parse_value(option: Option, text: str, where: str) -> OptionValue:
    """The value that `text` stands for; UsageError naming `where` it came from, never a secret's text."""
    try:
        return _PARSERS[option.type](text)
    except ValueError:
        shown = "the value given" if option.secret else repr(text)
        raise UsageError(f"{where}: {shown} is no {option.type} ({_EXAMPLES[option.type]})") from None


def format_default(option: Option) -> str:
    """The default as it would be typed; empty where there is none."""
    value = option.default
    if isinstance(value, bool):
        return str(value).lower()
    if option.type == "duration" and value is not None:
        return f"{value:g}s"
    return "" if value is None else str(value)


def _variable_in_use(option: Option, environ: Mapping[str, str]) -> str | None:
    """The variable the option's value comes from: of restic's own and Limpet's of the same name, Limpet's first."""
    name = option.environment
    if name is None:
        return None
    bare = name.removeprefix("LIMPET_").removeprefix("RESTIC_")
    candidates = (name,) if bare == name else (f"LIMPET_{bare}", f"RESTIC_{bare}")
    return next((candidate for candidate in candidates if environ.get(candidate)), None)


def _possible(plugin: str, declared: Sequence[Option]) -> str:
    if not declared:
        return f"{plugin} has no options"
    return "possible: " + ", ".join(f"{plugin}.{option.name}" for option in declared)


def _boolean(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(text)
    return word in _TRUE


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _duration(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return int(match[1]) << _SIZE_SHIFT[(match[2] or "").lower()]


_PARSERS: Mapping[OptionType, Callable[[str], OptionValue]] = {
    "string": str,
    "integer": lambda text: int(text, 0),
    "boolean": _boolean,
    "number": _number,
    "duration": _duration,
    "size": _size,
}
_EXAMPLES: Mapping[OptionType, str] = {
    "string": "any text",
    "integer": "such as 5",
    "boolean": "true or false",
    "number": "such as 0.5",
    "duration": "such as 30s, 5m or 1h30m",
    "size": "such as 512K, 10M or 1G",
}

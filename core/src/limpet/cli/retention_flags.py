"""The flags of a retention policy: --keep-last to --keep-tag, and --group-by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from limpet.cli.parameters import SPAN, TAG_LIST, ParsedType
from limpet.operations.retention import UNLIMITED, Policy, Span

Command = TypeVar("Command", bound=Callable[..., object])

_NUMBER = re.compile("[+-]?[0-9]+")
_INT64 = 1 << 63
_COUNTS = {"last": "l", "hourly": "H", "daily": "d", "weekly": "w", "monthly": "m", "yearly": "y"}
_WITHIN = "that are newer than duration (eg. 1y5m7d2h) relative to the latest snapshot"


class CountType(ParsedType):
    """A number from 0 on, or `unlimited`."""

    name = "n"

    def _convert(self, text: str) -> int:
        if text == "unlimited":
            return UNLIMITED
        if not (text.isascii() and _NUMBER.fullmatch(text)):
            raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        count = int(text)
        if not -_INT64 <= count < _INT64:
            raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
        if count < 0:
            raise ValueError("negative values not allowed, use 'unlimited' instead")
        return count


COUNT = CountType()


def policy_options(command: Command) -> Command:
    """A decorator that adds --keep-* as `keep_last`, `keep_within_daily`, `keep_tag`, ... for `policy_of`."""
    for option in reversed(_policy_options()):
        option(command)
    return command


def _policy_options() -> list[Callable[[Command], Command]]:
    counts = [_count_option(name, shorthand) for name, shorthand in _COUNTS.items()]
    spans = [_span_option(name) for name in ("", *list(_COUNTS)[1:])]
    tags = click.option(
        "--keep-tag",
        multiple=True,
        type=TAG_LIST,
        metavar="taglist",
        help="keep snapshots with this taglist (can be specified multiple times)",
    )
    return [*counts, *spans, tags]


def _count_option(name: str, shorthand: str) -> Callable[[Command], Command]:
    kind = "" if name == "last" else f"{name} "
    text = f"keep the last n {kind}snapshots (use 'unlimited' to keep all {kind}snapshots)"
    return click.option(f"-{shorthand}", f"--keep-{name}", type=COUNT, default=0, metavar="n", help=text)


def _span_option(name: str) -> Callable[[Command], Command]:
    flag = f"--keep-within-{name}" if name else "--keep-within"
    text = f"keep {name} snapshots {_WITHIN}" if name else f"keep snapshots {_WITHIN}"
    return click.option(flag, type=SPAN, default=Span(), metavar="duration", help=text)


def policy_of(flags: Mapping[str, Any]) -> Policy:
    """The policy that the flags ask for; UsageError for a span that is negative."""
    counts = {name: flags[f"keep_{name}"] for name in _COUNTS}
    spans = {f"within_{name}": flags[f"keep_within_{name}"] for name in list(_COUNTS)[1:]}
    return Policy(**counts, **spans, within=flags["keep_within"], tags=flags["keep_tag"])

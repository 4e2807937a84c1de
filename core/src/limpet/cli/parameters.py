"""Types of command-line values that restic has and click has not: durations, sizes, lists of tags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from limpet.operations.retention import Span
    from limpet.repository.snapshots import GroupBy

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SIZE_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+)([bkmgtBKMGT]?)")


def parse_duration(text: str) -> float:
    """Seconds of a duration in Go's notation (`1h30m`, `1.5s`, `300ms`, `0`); ValueError for anything else."""
    if text in {"0", "+0", "-0"}:
        return 0.0
    if not _DURATION.fullmatch(text):
        raise ValueError(f"invalid duration {text!r}: give a number with a unit such as 30s, 5m or 2h")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION_PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def parse_size(text: str) -> int:
    """Bytes of a size with an optional suffix B, K, M, G or T (powers of 1024); ValueError for anything else."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"invalid size {text!r}: give a number with an optional unit such as 10M or 2G")
    size_bytes = int(match[1]) * _SIZE_UNITS[match[2].upper() or "B"]
    if size_bytes >= 1 << 63:
        raise ValueError(f"size {text!r} is too large")
    return size_bytes


class ParsedType(click.ParamType[Any]):
    """A click type made of a parser that raises ValueError."""

    def _convert(self, text: str) -> Any:
        raise NotImplementedError

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._convert(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationType(ParsedType):
    """A Go duration, as seconds."""

    name = "duration"

    def _convert(self, text: str) -> float:
        return parse_duration(text)


class SizeType(ParsedType):
    """A size with a unit, as bytes."""

    name = "size"

    def _convert(self, text: str) -> int:
        return parse_size(text)


class TagListType(ParsedType):
    """`tag[,tag,...]`, as a tuple of tags without surrounding spaces."""

    name = "tag[,tag,...]"

    def _convert(self, text: str) -> tuple[str, ...]:
        return tuple(tag.strip() for tag in text.split(","))


class SpanType(ParsedType):
    """A length of time such as `1y5m7d2h`."""

    name = "duration"

    def _convert(self, text: str) -> Span:
        from limpet.operations.retention import parse_span  # noqa: PLC0415  # of use to few runs of many commands

        return parse_span(text)


class GroupByType(ParsedType):
    """`host`, `paths` and `tags`, separated by commas."""

    name = "group"

    def _convert(self, text: str) -> GroupBy:
        from limpet.repository.snapshots import GroupBy  # noqa: PLC0415  # as above

        return GroupBy.parse(text)


DURATION = DurationType()
SIZE = SizeType()
SPAN = SpanType()
GROUP_BY = GroupByType()
TAG_LIST = TagListType()

"""Limpet source: the output of a command, or standard input, as one file of a snapshot."""

from limpet_source_command.command import CommandSource
from limpet_source_command.stdin import StdinSource

__all__ = [
    "CommandSource",
    "StdinSource",
]

"""The contract of a command: one more word after `limpet`, with its own options and help.

A command is written with click. It reaches the repository as our own commands do, through the session that
`limpet.cli.session` passes in, or uses nothing but the library API of `limpet`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from limpet.contracts.options import Option

if TYPE_CHECKING:
    import click

COMMAND_CONTRACT = 1
"""Version of this contract; a plugin states the one it was written for."""


class Command(ABC):
    """A command found by name in the entry-point group `limpet.commands`."""

    contract_version: ClassVar[int] = COMMAND_CONTRACT
    options: ClassVar[Sequence[Option]] = ()

    @classmethod
    @abstractmethod
    def click_command(cls) -> click.Command:
        """The command itself; called once, and only when the command or its help is wanted."""

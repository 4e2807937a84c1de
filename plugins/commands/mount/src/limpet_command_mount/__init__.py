"""Limpet command: browse snapshots as a file system (FUSE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.contracts.command import Command

if TYPE_CHECKING:
    import click


class MountCommand(Command):
    """Mounts a repository: every snapshot as a folder to look into."""

    contract_version = 1

    @classmethod
    def click_command(cls) -> click.Command:
        from limpet_command_mount.command import command  # noqa: PLC0415  # only when it is wanted

        return command

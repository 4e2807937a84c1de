"""Puts a server's parts together as its settings say: the store, and the row of policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from limpet_command_serve.policy import Policy

if TYPE_CHECKING:
    from limpet_command_serve.settings import Settings
    from limpet_command_serve.store import Store

Tell = Callable[[str], None]
"""One line for the server's own log."""


def make_store(settings: Settings) -> Store:
    """The store; UsageError where there can be none."""
    if settings.backend is not None:
        from limpet_command_serve.gateway_store import GatewayStore  # noqa: PLC0415  # folders need no backend

        return GatewayStore.of(settings)
    from limpet_command_serve.folder_store import FolderStore  # noqa: PLC0415  # nor backends a folder

    return FolderStore(settings.path, for_group=settings.group_accessible_repos)


def make_policies(settings: Settings, store: Store, tell: Tell) -> list[Policy]:
    """The policies in the order in which they are asked; UsageError where a file they need is not there."""
    return []

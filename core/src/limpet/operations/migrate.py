"""Migrations: changes of a repository's format, each applied once. The caller holds an exclusive lock."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Protocol

from limpet.contracts.backend import CONFIG_HANDLE, Content
from limpet.errors import LimpetError, MissingFileError, RepositoryError
from limpet.repository.repository import Repository


class Migration(Protocol):
    """One change of the format."""

    @property
    def name(self) -> str:
        """What it is applied by."""

    @property
    def description(self) -> str:
        """What it does, in a few words."""

    @property
    def needs_sound_repository(self) -> bool:
        """Whether the repository is to be checked before."""

    def reason_against(self, repository: Repository) -> str | None:
        """Why it cannot be applied; None if it can."""

    def apply(self, repository: Repository) -> None:
        """Apply it. The repository has to be opened anew afterwards."""


@dataclass(frozen=True, slots=True)
class UpgradeToVersion2:
    """Allows compression. Only the config changes: what is stored already stays readable, and as it is."""

    name: str = "upgrade_repo_v2"
    description: str = "upgrade a repository to version 2"
    needs_sound_repository: bool = True

    def reason_against(self, repository: Repository) -> str | None:
        """Another version than 1."""
        version = repository.config.version
        return None if version == 1 else f"repository is already upgraded to version {version}"

    def apply(self, repository: Repository) -> None:
        """Store the new config. The old one is kept in a file of its own until that is done.

        RepositoryError naming that file if it fails.
        """
        if (version := repository.config.version) != 1:
            raise RepositoryError(f"repository has version {version}, only upgrades from version 1 are supported")
        new = repository.seal_config(replace(repository.config, version=2))
        old = repository.backend.load(CONFIG_HANDLE)
        copy = Path(mkdtemp(prefix="limpet-upgrade-")) / "config"
        copy.write_bytes(old)
        try:
            _replace_config(repository, new)
        except LimpetError as error:
            raise RepositoryError(_put_back(repository, old, error, copy)) from error
        except BaseException:  # told to stop: without its config nobody can open the repository
            _put_back(repository, old, RepositoryError("stopped"), copy)
            raise
        copy.unlink()
        copy.parent.rmdir()


MIGRATIONS: Sequence[Migration] = (UpgradeToVersion2(),)
"""Every migration there is, by the order in which they are listed."""


def find_migration(name: str) -> Migration | None:
    """The migration of that name."""
    return next((migration for migration in MIGRATIONS if migration.name == name), None)


def _replace_config(repository: Repository, sealed: bytes) -> None:
    repository.confirm_lock()
    if not repository.backend.properties.atomic_replace:
        repository.backend.remove(CONFIG_HANDLE)
    repository.backend.save(CONFIG_HANDLE, Content(memoryview(sealed), sha256(sealed).digest()))


def _put_back(repository: Repository, old: bytes, error: LimpetError, copy: Path) -> str:
    """Store the old config again; what came of it all, in a line."""
    text = f"error uploading config ({error}), "
    try:
        with suppress(MissingFileError):
            repository.backend.remove(CONFIG_HANDLE)
        repository.backend.save(CONFIG_HANDLE, Content(memoryview(old), sha256(old).digest()))
    except LimpetError as second:
        return (
            f"{text}re-uploading old config failed as well ({second}), but there is a backup of the config file in "
            f"{copy}"
        )
    return f"{text}re-uploaded old config was successful, there is a backup of the config file in {copy}"

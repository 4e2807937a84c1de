"""Which of libcloud's providers can hold a repository, and why the others cannot."""

from __future__ import annotations

from typing import Any

from libcloud.storage.base import StorageDriver
from libcloud.storage.providers import DRIVERS, get_driver
from libcloud.storage.types import OLD_CONSTANT_TO_NEW_MAPPING, Provider
from limpet.errors import UsageError

REFUSED = {
    "dummy": "it keeps nothing",
    "local": "its files can be read before they are whole; use local:FOLDER",
    "google_storage": "its driver hangs where it looks for credentials by itself; use gs:BUCKET:PATH",
    "backblaze_b2": "its listings end after the first page, so files would seem lost; use b2:BUCKET:PATH",
}
"""With libcloud 3.9."""

_NEEDED = (
    "create_container",
    "delete_object",
    "download_object_as_stream",
    "get_container",
    "get_object",
    "iterate_container_objects",
    "upload_object",
)


def known_providers() -> list[str]:
    """The names that can be given, sorted."""
    return sorted(name for name in DRIVERS if name not in REFUSED)


def driver_class(name: str) -> type[Any]:
    """The driver of the provider, whose name or constant is given in any case; UsageError with the way out."""
    constants = {key.lower(): value for key, value in vars(Provider).items() if key.isupper()}
    provider = constants.get(name.lower(), name.lower())
    provider = OLD_CONSTANT_TO_NEW_MAPPING.get(provider, provider)
    if provider in REFUSED:
        raise UsageError(f"libcloud's provider {name!r} cannot hold a repository: {REFUSED[provider]}")
    if provider not in DRIVERS:
        raise UsageError(f"libcloud has no provider {name!r}; known: {', '.join(known_providers())}")
    driver: type[Any] = get_driver(provider)
    lacking = [method for method in _NEEDED if getattr(driver, method) is getattr(StorageDriver, method)]
    if lacking:
        raise UsageError(
            f"libcloud's provider {name!r} cannot hold a repository: its driver lacks {', '.join(lacking)}"
        )
    return driver


def has_ranges(driver: type[Any]) -> bool:
    """Whether a part of an object can be read without the rest."""
    name = "download_object_range_as_stream"
    return getattr(driver, name) is not getattr(StorageDriver, name)

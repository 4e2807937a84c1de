"""The conformance suite of backends at a location that a user names.

The location is empty before and after each test. There is no way into the store but the backend itself: a second
instance stands in for the back door.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from limpet import registry
from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, MissingFileError
from limpet.registry.kinds import PluginKind
from limpet.testing.backend import BackendConformance, content_of, handle_of
from limpet.testing.installed import wanted, wanted_options


def open_installed() -> Backend:
    """The backend itself, with nothing around it."""
    given = wanted()
    place = registry.backend_location(given["location"])
    transport = Transport(**given["transport"])
    return registry.backend(given["name"]).open(place.rest, wanted_options(PluginKind.BACKEND), transport)


@pytest.fixture(scope="session")
def refuses_wrong_names() -> bool:
    """Whether the store itself looks whether a file's SHA-256 is its name, as rest-server does."""
    backend = open_installed()
    try:
        backend.create()
        handle = handle_of(b"the name")
        backend.save(handle, content_of(b"something else"))
        backend.remove(handle)
    except BackendError:
        return True
    else:
        return False
    finally:
        backend.delete()
        backend.close()


class TestInstalledBackend(BackendConformance):
    """Whatever backend the location names."""

    @pytest.fixture
    def backend(self, refuses_wrong_names: bool) -> Iterator[Backend]:
        self.names_are_checked = refuses_wrong_names
        self.secrets = self._secrets()
        backend = open_installed()
        try:
            backend.create()
            yield backend
        finally:
            self._clean_up(backend)

    def open_again(self, backend: Backend) -> Backend:
        return open_installed()

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        door = open_installed()
        try:
            return door.load(handle)
        except MissingFileError:
            return None
        finally:
            door.close()

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        content = content_of(data)
        if self.names_are_checked and handle.kind is not FileKind.CONFIG and handle.name != content.sha256.hex():
            pytest.skip("the store itself refuses a file whose SHA-256 is not its name")
        door = open_installed()
        try:
            if handle.kind is not FileKind.CONFIG and self.back_door_read(backend, handle) is not None:
                door.remove(handle)
            door.save(handle, content)
        except BackendError as error:
            if not error.permanent:
                raise
            pytest.skip(f"needs a way into the store beside the backend, which refuses this: {error}")
        finally:
            door.close()

    def _secrets(self) -> list[str]:
        declared = registry.backend(wanted()["name"]).options
        values = wanted_options(PluginKind.BACKEND)
        return [str(values[option.name]) for option in declared if option.secret and values[option.name]]

    def _clean_up(self, backend: Backend) -> None:
        """With an instance of its own: the test may have closed the other one."""
        backend.close()
        last = open_installed()
        try:
            last.delete()
        finally:
            last.close()

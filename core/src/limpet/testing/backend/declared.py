"""A backend declares what the core plans by, and says nothing that is secret."""

from __future__ import annotations

import pytest

from limpet.contracts.backend import BACKEND_CONTRACT, Backend, FileKind
from limpet.errors import MissingFileError
from limpet.testing.backend.contents import handle_of, save_all
from limpet.testing.backend.store import StoreUnderTest
from limpet.testing.declarations import check_declared_options, check_stated_contract


class DeclaredWell(StoreUnderTest):
    """The declarations of a backend, and its beginning and end."""

    def test_contract_version(self, backend: Backend) -> None:
        """A plugin built for another contract would fail in the middle of a backup instead of at its start."""
        check_stated_contract(type(backend), BACKEND_CONTRACT)

    def test_options_are_declared_well(self, backend: Backend) -> None:
        """`-o`, the environment, `--help` and the docs come from these declarations alone."""
        check_declared_options(type(backend).options)

    def test_properties(self, backend: Backend) -> None:
        """The core sizes its thread pools by `connections`."""
        assert backend.properties.connections >= 1

    def test_location_names_its_scheme(self, backend: Backend) -> None:
        """People copy the location out of messages; it has to work as `-r`."""
        scheme, separator, _ = backend.location.partition(":")
        assert scheme
        assert separator

    def test_no_secrets_shown(self, backend: Backend) -> None:
        """Logs and bug reports get published with the repr and the errors in them."""
        with pytest.raises(MissingFileError) as caught:
            backend.load(handle_of(b"not there"))
        for secret in self.secrets:
            assert secret not in repr(backend)
            assert secret not in str(backend)
            assert secret not in backend.location
            assert secret not in repr(caught.value) + str(caught.value)

    def test_create_again(self, backend: Backend) -> None:
        """`init` after an interrupted `init` must work, and lose nothing."""
        (handle,) = save_all(backend, FileKind.KEY, [b"a key"])
        backend.create()
        assert backend.load(handle) == b"a key"

    def test_close_again(self, backend: Backend) -> None:
        """Closing twice happens in every clean-up path."""
        backend.close()
        backend.close()

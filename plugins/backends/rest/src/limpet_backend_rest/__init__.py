"""Limpet backend: restic's REST server."""

from limpet_backend_rest.backend import RestBackend, connection_count
from limpet_backend_rest.place import Place

__all__ = ["Place", "RestBackend", "connection_count"]

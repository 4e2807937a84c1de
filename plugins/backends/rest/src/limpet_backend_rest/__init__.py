"""Limpet backend: restic's REST server."""

from limpet_backend_rest.backend import RestBackend

__all__ = ["RestBackend"]

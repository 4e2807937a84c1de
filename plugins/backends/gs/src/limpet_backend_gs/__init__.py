"""Limpet backend: Google Cloud Storage."""

from limpet_backend_gs.backend import GoogleBackend

__all__ = ["GoogleBackend"]

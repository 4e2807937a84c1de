"""Limpet backend: a repository in a bucket of Backblaze B2, through its native API."""

from limpet_backend_b2.backend import B2Backend

__all__ = ["B2Backend"]

"""Limpet backend: a repository in a folder of a local or mounted file system."""

from limpet_backend_local.backend import LocalBackend

__all__ = ["LocalBackend"]

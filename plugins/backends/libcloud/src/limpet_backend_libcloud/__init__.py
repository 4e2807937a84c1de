"""Limpet backend: the object stores that Apache Libcloud reaches."""

from limpet_backend_libcloud.backend import LibcloudBackend

__all__ = ["LibcloudBackend"]

"""Limpet backend: a container of OpenStack Swift."""

from limpet_backend_swift.backend import SwiftBackend

__all__ = ["SwiftBackend"]

"""Limpet backend: any remote of rclone's."""

from limpet_backend_rclone.backend import RcloneBackend

__all__ = ["RcloneBackend"]

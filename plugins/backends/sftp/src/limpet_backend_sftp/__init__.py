"""Limpet backend: any server that ssh reaches."""

from __future__ import annotations

from limpet_backend_sftp.backend import SftpBackend

__all__ = ["SftpBackend"]

"""Limpet command: browse snapshots over WebDAV, where there is no FUSE."""

from limpet_command_webdav.command import WebdavCommand

__all__ = ["WebdavCommand"]

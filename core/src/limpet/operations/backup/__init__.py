"""Backup: sources to one snapshot."""

from limpet.operations.backup.options import BackupOptions, BackupResult, Counts
from limpet.operations.backup.run import backup

__all__ = ["BackupOptions", "BackupResult", "Counts", "backup"]

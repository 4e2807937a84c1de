"""Limpet: backups in restic's repository format, as a library and a command."""

__version__ = "0.1.0"

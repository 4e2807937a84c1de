"""Limpet: backups in restic's repository format, as a library and a command."""

"""Limpet command: a server for restic's REST protocol."""

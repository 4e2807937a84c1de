"""Limpet backend: restic's REST server."""

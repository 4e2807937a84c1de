"""Limpet backend: Backblaze B2."""

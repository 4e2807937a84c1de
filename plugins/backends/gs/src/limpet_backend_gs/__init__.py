"""Limpet backend: Google Cloud Storage."""

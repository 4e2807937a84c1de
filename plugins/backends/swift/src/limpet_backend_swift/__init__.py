"""Limpet backend: OpenStack Swift."""

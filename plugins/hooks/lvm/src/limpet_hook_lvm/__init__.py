"""Limpet hook: read from a snapshot of the logical volume."""

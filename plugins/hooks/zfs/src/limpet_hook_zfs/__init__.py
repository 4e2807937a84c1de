"""Limpet hook: read from a snapshot of the ZFS dataset."""

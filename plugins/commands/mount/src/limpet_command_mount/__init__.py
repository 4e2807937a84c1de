"""Limpet command: browse snapshots as a file system."""

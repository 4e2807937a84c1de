"""Limpet command: browse snapshots over WebDAV, where there is no FUSE."""

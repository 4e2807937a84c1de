"""Limpet backend: any server that ssh reaches."""

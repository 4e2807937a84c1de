"""Limpet hook: read from a snapshot of the btrfs subvolume."""

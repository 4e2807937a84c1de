"""Limpet hook: read from a snapshot of the Btrfs subvolume."""

from limpet_hook_btrfs.hook import BtrfsHook

__all__ = ["BtrfsHook"]

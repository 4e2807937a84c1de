"""Limpet hook: read from a snapshot of the ZFS dataset."""

from limpet_hook_zfs.hook import ZfsHook

__all__ = ["ZfsHook"]

"""Limpet hook: read from a snapshot of the logical volume."""

from limpet_hook_lvm.hook import LvmHook

__all__ = ["LvmHook"]

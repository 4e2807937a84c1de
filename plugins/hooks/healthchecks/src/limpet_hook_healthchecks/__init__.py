"""Limpet hook: tell a healthchecks server how runs went."""

from limpet_hook_healthchecks.hook import HealthchecksHook

__all__ = [
    "HealthchecksHook",
]

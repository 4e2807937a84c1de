"""Limpet hook: passwords from the system's keyring or a secret store."""

from limpet_hook_keyring.hook import KeyringHook

__all__ = [
    "KeyringHook",
]

"""Limpet hook: messages about runs by e-mail, chat or push."""

from limpet_hook_notify.hook import NotifyHook

__all__ = [
    "NotifyHook",
]

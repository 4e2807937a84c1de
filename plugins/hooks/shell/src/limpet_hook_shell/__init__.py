"""Limpet hook: shell commands before and after a run."""

from limpet_hook_shell.hook import ShellHook

__all__ = [
    "ShellHook",
]

"""Copying snapshots with all they need from one repository to another."""

from limpet.operations.copy.run import CopiedSnapshot, CopyEvents, copy_snapshots
from limpet.operations.copy.selection import CopiedBefore

__all__ = ["CopiedBefore", "CopiedSnapshot", "CopyEvents", "copy_snapshots"]

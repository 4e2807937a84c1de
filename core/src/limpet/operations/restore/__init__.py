"""Restoring a snapshot to a folder."""

from limpet.operations.restore.options import Overwrite, RestoreOptions, RestoreResult, Selector, XattrSelector
from limpet.operations.restore.restorer import restore
from limpet.operations.restore.verify import verify_files

__all__ = ["Overwrite", "RestoreOptions", "RestoreResult", "Selector", "XattrSelector", "restore", "verify_files"]

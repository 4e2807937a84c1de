"""Dump: a file's content, or a folder as an archive, written to a stream."""

from limpet.operations.dump.pipeline import Writable
from limpet.operations.dump.run import Archive, dump, dump_folder

__all__ = ["Archive", "Writable", "dump", "dump_folder"]

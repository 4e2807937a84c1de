"""Dump: a file's content, or a folder as an archive, written to a stream."""

from limpet.operations.dump.run import Archive, dump, dump_file, dump_folder
from limpet.operations.dump.stream import Writable

__all__ = ["Archive", "Writable", "dump", "dump_file", "dump_folder"]

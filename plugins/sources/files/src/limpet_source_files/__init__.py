"""Source of files and folders of the local file system."""

from limpet_source_files.source import FilesSource

__all__ = ["FilesSource"]

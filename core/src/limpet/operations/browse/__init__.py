"""Browse: a repository as a tree of folders and files that can be read at any place, for `mount` and `webdav`.

with repository.lock():
    browser = Browser(repository, BrowseSettings(snapshot_filter=...), reporter=reporter)
    browser.refresh()                      # before each look into the views: cheap, it knows when it is time
    entry = browser.find(b"snapshots/latest")       # a link; a folder with BrowseSettings(follow_latest=True)
    for entry in browser.find(b"ids/1a2b3c4d/home").folder.entries(): ...   # entry.name, entry.node, entry.folder
    reader = browser.open(entry.node)      # size_bytes, read(offset, length), close()
    browser.close()
"""

from limpet.operations.browse.browser import Browser, BrowseSettings
from limpet.operations.browse.entry import Entry, Folder
from limpet.operations.browse.file_reader import FileReader
from limpet.operations.browse.folders import TreeFolder
from limpet.operations.browse.layout import PATH_TEMPLATES, TIME_TEMPLATE, Layout
from limpet.operations.browse.listing import Listing
from limpet.operations.browse.views import ViewFolder

__all__ = [
    "PATH_TEMPLATES",
    "TIME_TEMPLATE",
    "BrowseSettings",
    "Browser",
    "Entry",
    "FileReader",
    "Folder",
    "Layout",
    "Listing",
    "TreeFolder",
    "ViewFolder",
]

"""Find: files by name and time in many snapshots, and where blobs, trees and packs are used."""

from limpet.operations.find.names import FindQuery, Match, find
from limpet.operations.find.objects import FoundObject, ObjectIds, find_objects
from limpet.operations.find.packs import blobs_of_packs
from limpet.operations.find.versions import Version, group_versions

__all__ = [
    "FindQuery",
    "FoundObject",
    "Match",
    "ObjectIds",
    "Version",
    "blobs_of_packs",
    "find",
    "find_objects",
    "group_versions",
]

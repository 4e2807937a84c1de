"""Chooses between the C extension and its plain-Python twins.

The twins serve where the extension is missing, and everywhere with `LIMPET_PURE=1`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.format._native import (
        BlobCipher,
        BlobMarks,
        Chunker,
        ClaimTable,
        IndexTable,
        SameFiles,
        Sha256,
        die_with_parent,
        keep_freed_memory,
        open_cached,
        parse_plain_ns,
        return_freed_memory,
        sha256_all,
    )

    IS_NATIVE: bool
else:
    try:
        if os.environ.get("LIMPET_PURE") == "1":
            raise ImportError("LIMPET_PURE=1")
        from limpet.format._native import (
            BlobMarks,
            Chunker,
            IndexTable,
            SameFiles,
            die_with_parent,
            keep_freed_memory,
            open_cached,
            parse_plain_ns,
            return_freed_memory,
        )

        IS_NATIVE = True
    except ImportError:
        from limpet.format._cached_file_py import open_cached
        from limpet.format._chunker_py import Chunker
        from limpet.format._index_py import IndexTable
        from limpet.format._marks_py import BlobMarks
        from limpet.format._process_py import die_with_parent, keep_freed_memory, return_freed_memory
        from limpet.format._same_files_py import SameFiles
        from limpet.format._timestamp_py import parse_plain_ns

        IS_NATIVE = False
    try:
        if not IS_NATIVE:
            raise ImportError
        from limpet.format._native import ClaimTable
    except ImportError:  # also where a system has no shared anonymous memory
        from limpet.format._claims_py import ClaimTable
    try:
        if not IS_NATIVE:
            raise ImportError
        from limpet.format._native import Sha256, sha256_all
    except ImportError:  # also where the processor has no instructions for it
        from limpet.format._sha256_py import Sha256, sha256_all
    try:
        if not IS_NATIVE:
            raise ImportError
        from limpet.format._native import BlobCipher
    except ImportError:
        from limpet.format._cipher_py import BlobCipher

__all__ = [
    "IS_NATIVE",
    "BlobCipher",
    "BlobMarks",
    "Chunker",
    "ClaimTable",
    "IndexTable",
    "SameFiles",
    "Sha256",
    "die_with_parent",
    "keep_freed_memory",
    "open_cached",
    "parse_plain_ns",
    "return_freed_memory",
    "sha256_all",
]

"""The choice between the extension and its twins."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NAMES = (
    "Chunker",
    "ClaimTable",
    "IndexTable",
    "die_with_parent",
    "keep_freed_memory",
    "open_cached",
    "return_freed_memory",
)
SHOW = f"import limpet.format.native as n; print(n.IS_NATIVE, *[getattr(n, name).__module__ for name in {NAMES}])"
HIDE = "import sys; sys.modules['limpet.format._native'] = None; "


def _chosen(code: str, pure: str) -> list[str]:
    environment = {**os.environ, "LIMPET_PURE": pure}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(("code", "pure"), [(SHOW, "1"), (HIDE + SHOW, "")])
def test_the_twins_serve_without_the_extension(code: str, pure: str) -> None:
    """Where there is neither wheel nor compiler Limpet must work all the same."""
    process = "_process_py"
    twins = ["_chunker_py", "_claims_py", "_index_py", process, process, "_cached_file_py", process]
    assert _chosen(code, pure) == ["False", *(f"limpet.format.{twin}" for twin in twins)]


def test_the_extension_serves_where_it_is_built() -> None:
    """A twin chosen by mistake makes a backup a hundred times slower."""
    assert _chosen(SHOW, "") == ["True", *["limpet.format._native"] * len(NAMES)]

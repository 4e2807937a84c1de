"""The C code without Python under AddressSanitizer and UndefinedBehaviorSanitizer, fed with mutated index files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "src/limpet/format/native"
PARTS = (
    "index_json",
    "index_table",
    "index_encode",
    "blob_marks",
    "claim_table",
    "chunker",
    "chunker_avx2",
    "chunker_avx512",
    "sha256",
    "blob_cipher",
)
ROUNDS = 8_000


def _index_lines() -> list[str]:
    def blob(number: int, more: str) -> str:
        kind = "data" if number % 2 else "tree"
        return f'{{"id":"{number:064x}","type":"{kind}","offset":{number},"length":4711{more}}}'

    blobs = [blob(number, ',"uncompressed_length":99' if number % 3 else "") for number in range(5)]
    packs = f'[{{"id":"{1:064x}","blobs":[{",".join(blobs)}]}},{{"id":"{2:064x}","blobs":[]}}]'
    return [f'{{"packs":{packs}}}', f'{{"supersedes":["{3:064x}", "{4:064x}"],"packs":{packs}}}', packs, '{"packs":[]}']


def test_no_byte_outside_its_buffer_is_touched(tmp_path: Path) -> None:
    """The bytes come from a storage that may be hostile: one read too far is a way in."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    program = tmp_path / "harness"
    sources = [str(NATIVE / f"{part}.c") for part in PARTS]
    flags = ["-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra"]
    built = subprocess.run(
        [compiler, *flags, "-Werror", "-o", program, HERE / "native_harness.c", *sources],
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot find" in built.stderr and "asan" in built.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    lines = tmp_path / "indexes"
    lines.write_text("\n".join(_index_lines()), encoding="ascii")
    done = subprocess.run([program, lines, str(ROUNDS)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr

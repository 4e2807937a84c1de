"""What the extension asks of its cryptography before it offers it: compiled wrong, it must not be used."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from limpet.format import _native

NATIVE = Path(__file__).parents[2] / "src/limpet/format/native"
MAIN = '#include "{part}.h"\nint main(void) {{ return {part}_is_supported() ? {part}_works() ? 0 : 1 : 2; }}\n'
IS_SUPPORTED = hasattr(_native, "BlobCipher") and hasattr(_native, "Sha256")

WRONG = {
    "blob_cipher": [
        ("counter->high += counter->low == 0;", ""),  # the counter's upper half
        ("counter->low++;", "counter->low += 2;"),
        ("ONE_KEY(10, 0x36);", "ONE_KEY(10, 0x35);"),  # AES-128, which the tag needs
        ("ROTATED(b, 0x40)", "ROTATED(b, 0x80)"),  # AES-256
        ("a = number->limb[0] + (low & MASK_44)", "a = number->limb[0] + (low & MASK_42)"),
        ("z += (uint64_t)(y >> 44);", ""),  # a carry
        ("last[size] = 1;", ""),
        ("0x0ffffffc0ffffffc", "0x0ffffffc0fffffff"),
    ],
    "sha256": [
        ("0x748f82ee", "0x748f82ef"),  # a constant of the last rounds
        ("size + 1 + LENGTH_SIZE > SHA256_BLOCK", "size + LENGTH_SIZE > SHA256_BLOCK"),  # a padding that just fits
        ("b.cdgh = _mm_add_epi32(b.cdgh, cdgh_b);", ""),  # the second of two messages
        ("r.cdgh = _mm_add_epi32(r.cdgh, cdgh);", ""),  # one alone
        ("length << 3", "length << 2"),
    ],
}


def _self_test(folder: Path, part: str, wrong: tuple[str, str] = ("", "")) -> int:
    """0 for success, 1 for failure, 2 for a processor without the instructions."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = (NATIVE / f"{part}.c").read_text(encoding="ascii")
    right, instead = wrong
    assert right in source, "the test changes what is not there any more"
    (folder / f"{part}.c").write_text(source.replace(right, instead), encoding="ascii")
    (folder / "main.c").write_text(MAIN.format(part=part), encoding="ascii")
    command = [compiler, "-std=gnu11", "-O0", f"-I{NATIVE}", "-o", "program", f"{part}.c", "main.c"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return subprocess.run([folder / "program"], check=False).returncode


@pytest.mark.parametrize("part", WRONG)
def test_what_is_right_is_used(part: str, tmp_path: Path) -> None:
    """A self-test that fails for nothing would make every backup slower."""
    assert _self_test(tmp_path, part) == (0 if IS_SUPPORTED else 2)


@pytest.mark.skipif(not IS_SUPPORTED, reason="the processor has no instructions for it")
@pytest.mark.parametrize(("part", "wrong"), [(part, wrong) for part, all_wrong in WRONG.items() for wrong in all_wrong])
def test_what_is_wrong_is_not_used(part: str, wrong: tuple[str, str], tmp_path: Path) -> None:
    """A fault on both ways opens what it has sealed, so the check before the upload would pass: restic could not read
    it, nor Limpet on another machine."""
    assert _self_test(tmp_path, part, wrong) == 1

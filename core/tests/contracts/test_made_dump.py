"""Files that are made to be printed: private while they are there, gone whatever happens."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from limpet.contracts.made_dump import PrivateFolder, module_command
from limpet.errors import UsageError

PRINTER = """
import os, sys, time
from limpet.contracts.made_dump import print_made_file

def make(path):
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    with open(path, "wb") as file:
        file.write(b"x" * 3_000_000)
    if sys.argv[2] == "fail":
        raise OSError("no room")

print_made_file(make, sys.argv[1])
"""


def printer(folder: Path, how: str) -> subprocess.Popen[bytes]:
    """A process that makes a file and prints it."""
    argv = [sys.executable, "-c", PRINTER, str(folder), how]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_whole_file_is_printed(tmp_path: Path) -> None:
    """What is made is what is stored."""
    with printer(tmp_path, "well") as process:
        output, _ = process.communicate()
    assert process.returncode == 0
    assert output == b"x" * 3_000_000
    assert os.listdir(tmp_path) == []


def test_nothing_is_left_while_it_is_printed(tmp_path: Path) -> None:
    """A process that is killed then, or the whole machine, leaves no copy of somebody's data behind."""
    with printer(tmp_path, "well") as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        assert os.listdir(tmp_path) == []
        process.kill()


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    """Half a file fills the disk that was too small for it."""
    with printer(tmp_path, "fail") as process:
        output, _ = process.communicate()
    assert process.returncode == 1
    assert output == b""
    assert os.listdir(tmp_path) == []


def test_private_folder(tmp_path: Path) -> None:
    """Others must see nothing of it, and nothing of it must stay."""
    folder = PrivateFolder(str(tmp_path))
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700
    (Path(folder.path) / "copy").write_text("secret")
    folder.close()
    folder.close()
    assert os.listdir(tmp_path) == []
    with pytest.raises(UsageError, match=f"temporary files in {tmp_path}/nowhere: No such file"):
        PrivateFolder(f"{tmp_path}/nowhere")


def test_module_of_the_current_folder_is_not_run(tmp_path: Path) -> None:
    """Whoever can write to the folder that a backup is started in must not get to run code in it."""
    done = subprocess.run(module_command("json.tool", "--help"), cwd=tmp_path, capture_output=True, check=True)
    assert b"usage" in done.stdout
    (tmp_path / "planted.py").write_text("print('planted')")
    done = subprocess.run(module_command("planted"), cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode
    assert b"planted" not in done.stdout

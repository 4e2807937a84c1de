"""The main job on real files: back up, change, back up again, check, restore, compare; exit code 1 if anything differs.

Run by `make demo`. All happens in a temporary folder with the `limpet` that belongs to the running Python. The
comparison is this file's own: what each path is, its content, mode, owner, times, links and extended attributes.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LIMPET = Path(sys.executable).with_name("limpet")
MIB = 1024 * 1024
LINES_SHOWN = 12
PASSWORD = "only for this demo"

Manifest = dict[bytes, tuple[object, ...]]


class DemoError(Exception):
    """A step failed, or something came back different."""


def main() -> int:
    """Run all steps in a temporary folder; the exit code."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="limpet-demo-") as folder:
        try:
            run(Path(folder).resolve())
        except DemoError as error:
            print(f"\nThe demo FAILED: {error}", file=sys.stderr)
            return 1
    print(f"\nThe demo is done: all that was restored is what was saved. {time.monotonic() - started:.0f} s.")
    return 0


def run(folder: Path) -> None:
    """The steps, each with a line that says what it is for."""
    home, repository = folder / "home", folder / "repository"
    os.environ.update(
        LIMPET_REPOSITORY=str(repository),
        LIMPET_PASSWORD=PASSWORD,
        LIMPET_CACHE_DIR=str(folder / "cache"),
        RESTIC_REPOSITORY=str(repository),
        RESTIC_PASSWORD=PASSWORD,
    )

    step(f"Files to back up in {home}: Python's own library, and one of each kind a file system has")
    make_files(home)
    first = manifest(home)
    print(describe(first))

    step("A new repository in restic's format, encrypted with a password")
    limpet("init")

    step("The first backup")
    limpet("backup", home)

    step("Some files are changed, renamed, deleted and made")
    change_files(home)
    second = manifest(home)
    print(describe(second))

    step("The second backup reads and stores only what changed")
    limpet("backup", home)

    step("What the repository holds")
    limpet("snapshots")
    limpet("ls", "latest", home / "kinds")

    step("Is all of it whole? Every byte is read, decrypted and compared with its hash")
    limpet("check", "--read-data")

    step("One file of the first snapshot, without restoring the rest")
    letter = limpet("dump", "latest~1", home / "letter.txt", show=False)
    expect(hashlib.sha256(letter).digest() in first[b"letter.txt"], "dump printed something else than letter.txt held")
    print(letter.decode(), end="")

    for name, selector, saved in [("first", "latest~1", first), ("second", "latest", second)]:
        step(f"The {name} snapshot is restored into an empty folder and compared with what was there at its time")
        limpet("restore", selector, "--target", folder / name)
        compare(saved, manifest(restored_at(folder / name, home)))

    step("The same by `diff`, which knows nothing of Limpet")
    differences = subprocess.run(
        ["diff", "-r", "--no-dereference", "-x", "a-fifo", home, restored_at(folder / "second", home)],
        capture_output=True,
        check=False,
    )
    expect(differences.returncode == 0, f"diff found:\n{differences.stdout.decode(errors='replace')}")
    print("diff found nothing")

    judge_with_restic(folder, home, second)


def judge_with_restic(folder: Path, home: Path, saved: Manifest) -> None:
    """A real restic, if there is one, checks the repository, restores from it and continues it."""
    restic = shutil.which("restic")
    if restic is None:
        step("No restic is here, or it would check and restore the repository too")
        return
    step(f"A real restic ({restic}) checks the repository, and restores from it")
    execute(restic, "--no-cache", "version")
    execute(restic, "--no-cache", "check", "--read-data")
    execute(restic, "--no-cache", "restore", "latest", "--target", folder / "by-restic")
    compare(saved, manifest(restored_at(folder / "by-restic", home)))


def restored_at(target: Path, home: Path) -> Path:
    """Where a restored folder is: snapshots keep whole paths."""
    return target / home.relative_to("/")


def make_files(home: Path) -> None:
    """Fill the folder: thousands of real files, and one of each kind."""
    unwanted = shutil.ignore_patterns("site-packages", "dist-packages", "test", "tests", "__pycache__", "config-*")
    shutil.copytree(sysconfig.get_path("stdlib"), home / "library", symlinks=True, ignore=unwanted)
    shutil.copyfile(os.path.realpath(sys.executable), home / "python")
    (home / "letter.txt").write_text("Dear reader,\nthis letter was saved by Limpet.\n")
    (home / "film").write_bytes(random.Random(1).randbytes(24 * MIB))

    kinds = home / "kinds"
    (kinds / "a" / "deep" / "folder").mkdir(parents=True)
    (kinds / "a" / "deep" / "folder" / "file").write_text("found\n")
    (kinds / "empty").touch()
    (kinds / "read-only").write_text("not to be changed\n")
    (kinds / "read-only").chmod(0o400)
    (kinds / "name with spaces, ümlaut and \N{SNAIL}").write_text("a name\n")
    (Path(os.fsdecode(os.fsencode(kinds) + b"/no-utf8-\xff\xfe"))).write_text("another name\n")
    (kinds / "a-link").symlink_to("a/deep/folder/file")
    (kinds / "a-broken-link").symlink_to("nowhere")
    os.link(kinds / "read-only", kinds / "its-second-name")
    os.mkfifo(kinds / "a-fifo", 0o640)
    with (kinds / "image-with-holes").open("wb") as image:
        for offset in (0, 100 * MIB, 199 * MIB):
            image.seek(offset)
            image.write(b"data" * 4096)
        image.truncate(200 * MIB)
    with suppress(OSError):  # file systems without extended attributes
        os.setxattr(kinds / "empty", "user.colour", b"blue")
    os.utime(kinds / "empty", ns=(0, 981173106_123456789))
    os.utime(kinds / "a", ns=(0, 981173106_987654321))


def change_files(home: Path) -> None:
    """What happens between two backups."""
    film = home / "film"
    content = film.read_bytes()
    film.write_bytes(content[: 10 * MIB] + b"a scene put in later" + content[10 * MIB :])
    (home / "letter.txt").write_text("Dear reader,\nthis letter was written anew.\n")
    (home / "library" / "json").rename(home / "library" / "json-renamed")
    shutil.rmtree(home / "library" / "email")
    (home / "kinds" / "read-only").chmod(0o440)
    (home / "kinds" / "new").write_bytes(os.urandom(MIB))


def manifest(folder: Path) -> Manifest:
    """What each path below the folder is, the folder itself under the empty path."""
    found: Manifest = {}
    first_names: dict[tuple[int, int], bytes] = {}
    for path in sorted(walk(os.fsencode(folder))):
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        name = os.path.relpath(path, os.fsencode(folder))
        hard_link_of = None
        if kind != stat.S_IFDIR and status.st_nlink > 1:
            hard_link_of = first_names.setdefault((status.st_dev, status.st_ino), name)
        content: object = None
        if kind == stat.S_IFREG:
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        elif kind == stat.S_IFLNK:
            content = os.readlink(path)
        size_bytes = status.st_size if kind == stat.S_IFREG else None
        names = sorted(attribute_names(path))
        attributes = tuple((each, os.getxattr(path, each, follow_symlinks=False)) for each in names)
        found[name] = (
            stat.filemode(status.st_mode), size_bytes, status.st_mtime_ns, status.st_uid, status.st_gid, content,
            hard_link_of, attributes,
        )  # fmt: skip
    return found


def walk(folder: bytes) -> Iterator[bytes]:
    """The folder and all paths below it, links not followed."""
    yield folder
    for inner, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield os.path.join(inner, name)


def attribute_names(path: bytes) -> list[str]:
    """The path's extended attributes; none where the file system has none."""
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def compare(saved: Manifest, restored: Manifest) -> None:
    """DemoError that names the first paths that differ."""
    different = [name for name in sorted(saved.keys() | restored.keys()) if saved.get(name) != restored.get(name)]
    lines = [f"{name!r}: saved {saved.get(name)}, restored {restored.get(name)}" for name in different[:LINES_SHOWN]]
    expect(not different, f"{len(different)} paths came back different:\n" + "\n".join(lines))
    print(f"the same: {describe(restored)}")


def describe(found: Manifest) -> str:
    """How much there is, in words."""
    sizes = [size for _, size, *_ in found.values() if isinstance(size, int)]
    return f"{len(found)} paths, {len(sizes)} of them files with {sum(sizes) / MIB:.0f} MiB"


def step(text: str) -> None:
    """Print a headline."""
    print(f"\n== {text}", flush=True)


def expect(holds: bool, text: str) -> None:
    """DemoError with the text unless it holds."""
    if not holds:
        raise DemoError(text)


def limpet(*arguments: str | Path, show: bool = True) -> bytes:
    """Run the command as a user would and print what it prints, long output cut; its standard output."""
    return execute(LIMPET, *arguments, show=show)


def execute(program: str | Path, *arguments: str | Path, show: bool = True) -> bytes:
    """Run a program; DemoError if it fails."""
    command = [str(argument) for argument in (program, *arguments)]
    print("$", Path(program).name, *command[1:], flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if show:
        lines = done.stdout.decode(errors="replace").splitlines()
        print(*lines[:LINES_SHOWN], sep="\n", flush=True)
        if len(lines) > LINES_SHOWN:
            print(f"... and {len(lines) - LINES_SHOWN} more lines")
    expect(done.returncode == 0, f"{' '.join(command)} ended with exit code {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())

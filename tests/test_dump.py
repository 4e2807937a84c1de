"""Dumps beside those of real restic: the same archives by every reader's account, and nothing cut without a word."""

from __future__ import annotations

import gc
import io
import os
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from limpet import backup, create_repository, open_repository
from limpet import snapshots as limpet_snapshots
from limpet.cli.main import main
from limpet.contracts.backend import FileKind, Handle
from limpet.errors import LimpetError
from limpet.format.kdf import KdfParameters
from limpet.operations.dump import Archive
from limpet.operations.dump import dump as dump_operation
from limpet.testing.restic import Restic

PASSWORD = "dumped"
ACL = bytes.fromhex("0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff")
LIMPET = [sys.executable, "-c", "import sys; from limpet.cli.main import main; sys.exit(main())"]
IS_ROOT = os.geteuid() == 0

pytestmark = pytest.mark.interop

Facts = Mapping[str, tuple[object, ...]]
Dump = Callable[..., bytes]


def _fill(folder: Path) -> None:
    """Files of every kind that an archive may hold or not."""
    deep = folder / ("l" * 200) / ("m" * 200)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (folder / "plain").write_bytes(b"content\n")
    (folder / "empty").touch()
    (folder / "large").write_bytes(os.urandom(3_000_000))
    with open(folder / "sparse", "wb") as file:
        file.truncate(40_000_000)
    (folder / ("ü" * 60)).write_text("long in bytes")
    with open(os.fsencode(folder) + b"/n\xff\xfe", "wb") as file:
        file.write(b"no UTF-8")
    os.link(folder / "plain", folder / "hard link")
    os.symlink("plain", folder / "link")
    os.symlink(b"t\xff", os.fsencode(folder) + b"/link to bytes")
    os.symlink("x" * 300, folder / "long link")
    (folder / "sub/deeper").mkdir(parents=True)
    (folder / "sub/deeper").chmod(0o2750)
    (folder / "sub").chmod(0o1777)
    (folder / "large").chmod(0o4755)
    os.mkfifo(folder / "sub/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(folder / "sub")
        server.bind("socket")
    os.setxattr(folder / "plain", "user.binary", b"a\0b\xff\n")
    os.setxattr(folder / "empty", "user.empty", b"")
    os.setxattr(folder / "large", "system.posix_acl_access", ACL)
    if IS_ROOT:
        os.chown(folder / "sub/deeper", 3_000_000, 4_000_000)
        os.mknod(folder / "sub/null", 0o20666, os.makedev(1, 3))
    os.utime(folder / "plain", ns=(0, 1_577_934_245_123_456_789))
    os.utime(folder / "empty", ns=(0, -1_500_000_000))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind."""
    folder = tmp_path_factory.mktemp("source")
    here = Path.cwd()
    _fill(folder)
    os.chdir(here)
    return folder


@pytest.fixture(scope="module")
def repository(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one snapshot of them."""
    path = tmp_path_factory.mktemp("repository") / "repository"
    with create_repository(str(path), PASSWORD, kdf=KdfParameters(2, 1, 1, bytes(64))) as made:
        backup(made, [source], tags=["dumped"])
    return path


@pytest.fixture
def dump(repository: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Dump:
    """What `limpet dump` writes to standard output."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)

    def run(*arguments: str | Path, exit_code: int = 0, says: str = "") -> bytes:
        capfdbinary.readouterr()
        ended = main(["--no-cache", "--no-lock", "-r", str(repository), "dump", *map(str, arguments)])
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        assert (ended, says in err.decode()) == (exit_code, True), err
        return out

    return run


def _tar_facts(archive: bytes) -> Facts:
    """All that is in a tar archive, but for fractions of seconds."""
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as tar:
        for one in tar:
            content = tar.extractfile(one) if one.isfile() else None
            records = {key: value for key, value in one.pax_headers.items() if key.startswith("SCHILY.")}
            found[one.name] = (
                one.type, one.mode, one.uid, one.gid, one.uname, one.gname, one.size, one.linkname, records,
                content.read() if content else None,
            )  # fmt: skip
    return found


def _zip_facts(archive: bytes) -> Facts:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {
            # What is older than the format is dated anew, by everyone in another way.
            one.filename: (
                one.filename != "empty" and one.date_time,
                one.external_attr,
                one.create_system,
                one.extra,
                file.read(one),
            )
            for one in file.infolist()
        }


def _restic_dump(restic: Restic, repository: Path, *arguments: str | Path) -> bytes:
    return restic.run("dump", *arguments, repo=repository, password=PASSWORD).stdout


def _is_special(path: str) -> bool:
    return path.endswith(("sub/fifo", "sub/null", "sub/socket"))


def test_tar(dump: Dump, repository: Path, source: Path, restic_new: Restic) -> None:
    """A tar archive holds what restic's holds, and the devices and fifos that restic leaves out."""
    ours = _tar_facts(dump(f"latest:{source}", "/"))
    theirs = _tar_facts(_restic_dump(restic_new, repository, f"latest:{source}", "/"))
    assert {path: facts for path, facts in ours.items() if not _is_special(path)} == theirs
    assert ours["sub/fifo"][0] == tarfile.FIFOTYPE


def test_tar_unpacks(dump: Dump, source: Path, tmp_path: Path) -> None:
    """GNU tar brings back names, times to the nanosecond, attributes and devices."""
    archive = dump("latest", source)
    options = ["--xattrs", "--xattrs-include=*", "--acls", "-p"]
    subprocess.run(["tar", "-x", *options, "-C", tmp_path], input=archive, check=True, capture_output=True)
    target = os.fsencode(tmp_path) + os.fsencode(source)
    seen = 0
    for folder, folders, files in os.walk(os.fsencode(source)):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            copy = target + path.removeprefix(os.fsencode(source))
            if name == b"socket":
                continue
            expected, got = os.lstat(path), os.lstat(copy)
            assert (got.st_mode, got.st_mtime_ns, got.st_rdev) == (
                expected.st_mode, expected.st_mtime_ns, expected.st_rdev
            ), path  # fmt: skip
            if IS_ROOT:
                assert (got.st_uid, got.st_gid) == (expected.st_uid, expected.st_gid)
            assert _attributes(copy) == _attributes(path)
            seen += 1
    assert seen > 12


def _attributes(path: bytes) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def test_zip(dump: Dump, repository: Path, source: Path, restic_new: Restic) -> None:
    """A zip archive holds what restic's holds, but for fifos and devices, which restic writes as empty files."""
    ours = _zip_facts(dump("-a", "zip", f"latest:{source}", "/"))
    theirs = _zip_facts(_restic_dump(restic_new, repository, "-a", "zip", f"latest:{source}", "/"))
    assert ours == {path: facts for path, facts in theirs.items() if not _is_special(path)}


def test_folder_keeps_its_path(dump: Dump, repository: Path, source: Path, restic_new: Restic) -> None:
    """Paths in the archive begin at the snapshot's root, as restic's."""
    ours = dump("latest", source / "sub")
    theirs = _restic_dump(restic_new, repository, "latest", source / "sub")
    prefix = str(source / "sub").lstrip("/")
    assert _tar_facts(ours)[f"{prefix}/deeper"] == _tar_facts(theirs)[f"{prefix}/deeper"]
    assert {path for path in _tar_facts(theirs) if not _is_special(path)} <= set(_tar_facts(ours))


@pytest.mark.parametrize("name", ["plain", "empty", "large", "sparse"])
def test_file(dump: Dump, source: Path, tmp_path: Path, name: str) -> None:
    """A file's bytes, on standard output or in a file."""
    expected = (source / name).read_bytes()
    assert dump("latest", source / name) == expected
    assert dump("--tag", "dumped", "-t", tmp_path / "copy", f"latest:{source}", name) == b""
    assert (tmp_path / "copy").read_bytes() == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["latest"], "no file and no snapshot ID specified"),
        (["latest", "/", "-a", "rar"], "unknown archive format"),
        (["abcdef", "/"], "failed to find snapshot"),
        (["latest", "/nowhere"], "not found in snapshot"),
        (["latest:/nowhere", "/"], "not found"),
        (["latest", "/", "--host", "elsewhere"], "no snapshot found"),
        (["latest:{source}", "link"], 'should be a file, but is a "symlink"'),
        (["latest:{source}", "plain/x"], 'should be a dir, but is a "file"'),
        (["latest:{source}", "plain", "-t", "/nowhere/at/all"], "cannot dump to file"),
    ],
)
def test_refusals(dump: Dump, source: Path, arguments: list[str], says: str) -> None:
    """What cannot be dumped ends with one line and exit code 1, and writes nothing."""
    filled = [argument.replace("{source}", str(source)) for argument in arguments]
    assert dump(*filled, exit_code=1, says=says) == b""


@pytest.fixture
def damaged(repository: Path, source: Path, tmp_path: Path) -> Path:
    """A copy of the repository whose largest pack, that of the large file, is gone."""
    copy = tmp_path / "damaged"
    subprocess.run(["cp", "-a", repository, copy], check=True)
    with open_repository(str(copy), PASSWORD) as opened:
        packs = sorted(opened.backend.list(FileKind.PACK), key=lambda info: info.size_bytes)
        opened.backend.remove(Handle(FileKind.PACK, packs[-1].name))
    return copy


@pytest.mark.parametrize("form", ["file", "tar", "zip"])
def test_lost_blob(damaged: Path, source: Path, form: str) -> None:
    """A dump that cannot be completed fails, and what it wrote does not pass for a whole archive."""
    arguments = [source / "large"] if form == "file" else ["-a", form, "/"]
    command = [*LIMPET, "--no-cache", "-r", damaged, "dump", "latest", *arguments]
    ended = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, "LIMPET_PASSWORD": PASSWORD}, timeout=100
    )
    assert ended.returncode == 1
    assert b"cannot dump file" in ended.stderr
    assert b"Traceback" not in ended.stderr
    if form == "tar":
        assert not ended.stdout.endswith(bytes(1024))
        reading = subprocess.run(["tar", "-t"], input=ended.stdout, capture_output=True, check=False)
        assert reading.returncode != 0 or b"large" not in reading.stdout
    if form == "zip":
        assert not zipfile.is_zipfile(io.BytesIO(ended.stdout))


def test_given_up_without_a_word(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of a dump that failed is collected silently, in whatever order."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    out = io.BytesIO()
    with open_repository(str(damaged), PASSWORD) as opened:
        stored = limpet_snapshots(opened)[-1]
        opened.refresh_index()
        assert stored.snapshot.tree is not None
        try:
            dump_operation(opened, stored.snapshot.tree, b"/", out, archive=Archive.ZIP)
        except LimpetError as error:
            # In a cycle everything is collected at once, oldest first: the archive before the entry that is open.
            cycle: list[object] = [error]
            cycle.append(cycle)
            del cycle
        else:
            pytest.fail("the blob was there")
    gc.collect()
    assert not complaints
    assert not zipfile.is_zipfile(out)


def test_broken_pipe(repository: Path) -> None:
    """`limpet dump ... | head` ends without a word."""
    command = [*LIMPET, "--no-cache", "--no-lock", "-r", str(repository), "dump", "latest", "/"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LIMPET_PASSWORD": PASSWORD},
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(100)
        running.stdout.close()
        assert running.wait(timeout=60) == 141
        assert running.stderr.read() == b""

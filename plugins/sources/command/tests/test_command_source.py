"""Commands as sources: whole output or no snapshot, no hanging child, clear words when something is wrong."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from limpet.contracts.options import Options
from limpet.contracts.source import SourceRequest
from limpet.errors import SourceError, UsageError
from limpet.progress import SilentReporter
from limpet.testing.listening import Listening
from limpet_source_command import CommandSource


def command(*argv: str, options: Options | None = None, reporter: SilentReporter | None = None) -> CommandSource:
    """A source for one command."""
    return CommandSource.open(SourceRequest(list(argv), options or {}, reporter=reporter))


def shell(script: str, reporter: SilentReporter | None = None) -> CommandSource:
    """A source for one script."""
    return command("sh", "-c", script, reporter=reporter)


def read_all(source: CommandSource) -> list[bytes]:
    """The content of every target, read as the core does."""
    contents = []
    for target in source.targets():
        assert target.entry.stream is not None
        with target.entry.stream() as stream:
            contents.append(stream.read())
    return contents


def alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def wait_for(path: Path) -> str:
    """The text of a file that another process is about to write."""
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text().strip():
        assert time.monotonic() < deadline, f"{path.name} was never written"
        time.sleep(0.01)
    return path.read_text()


def test_output_becomes_one_file() -> None:
    """The file has restic's name, mode and owner, or the two tools' snapshots of one command differ."""
    source = command("echo", "hello")
    [target] = source.targets()
    assert read_all(source) == [b"hello\n"]
    source.finish()
    source.close()
    assert source.snapshot_paths == ["/stdin"]
    assert target.path == b"/stdin"
    assert target.entry.name == b"stdin"
    assert target.entry.made
    assert target.entry.stat.st_mode == stat.S_IFREG | 0o644
    assert (target.entry.stat.st_uid, target.entry.stat.st_gid) == (os.getuid(), os.getgid())
    assert abs(target.entry.stat.st_mtime_ns - time.time_ns()) < 60 * 10**9
    assert not source.has_parent


@pytest.mark.parametrize(
    ("filename", "path"),
    [("dump.sql", "/dump.sql"), ("a/../b/c", "/b/c"), ("//x//y", "/x/y"), ("../../x", "/x"), ("\udcff", "/\udcff")],
)
def test_filename(filename: str, path: str) -> None:
    """A name must never lead out of the snapshot's root, and is cleaned as restic cleans it."""
    source = command("true", options={"filename": filename})
    assert source.snapshot_paths == [path]
    assert source.targets()[0].path == os.fsencode(path)


@pytest.mark.parametrize("filename", ["/", "..", "a/..", "x\0y"])
def test_filename_of_nothing(filename: str) -> None:
    """A file without a name cannot be restored."""
    with pytest.raises(UsageError, match="invalid filename"):
        command("true", options={"filename": filename})


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo half; exit 3", "exit status 3"),
        ("echo half; kill -9 $$", "signal: killed"),
        ("exit 1", "exit status 1"),
        ("exec 1>&-; sleep 0.3; exit 4", "exit status 4"),
    ],
)
def test_failing_command_is_no_snapshot(script: str, words: str) -> None:
    """Half a dump that looks like a backup is found out on the day it is needed."""
    source = shell(script)
    try:
        read_all(source)
    except OSError as error:
        assert "no data read" in str(error)  # noqa: PT017  # only some of the scripts write nothing
    with pytest.raises(SourceError, match=f"command sh failed: {words}"):
        source.finish()
    source.close()


def test_empty_output_is_an_unreadable_file() -> None:
    """restic reports empty output as an error of the file (2135): a dump of nothing is seldom meant."""
    source = command("true")
    with pytest.raises(OSError, match="read true: no data read"):
        read_all(source)
    source.finish()
    source.close()


def test_unread_output_is_no_snapshot() -> None:
    """If the reader stopped early, what was stored is not what the command wrote."""
    source = shell("while :; do echo more; done")
    [target] = source.targets()
    assert target.entry.stream is not None
    stream = target.entry.stream()
    assert stream.read(4) == b"more"
    with pytest.raises(SourceError, match="not read to its end"):
        source.finish()
    source.close()


@pytest.mark.parametrize("argv", [[], [""], ["no-such-command-anywhere"], ["/"], ["no such", "x"]])
def test_what_cannot_be_run(argv: Sequence[str]) -> None:
    """A typing mistake is told before a repository is opened or anything is stored."""
    with pytest.raises(UsageError, match="command"):
        CommandSource.open(SourceRequest(argv))


def test_not_executable_after_all(tmp_path: Path) -> None:
    """A file that only looks like a program fails in its start, and the snapshot with it."""
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF no")
    program.chmod(0o755)
    source = command(str(program))
    with pytest.raises(SourceError, match="failed to start command"):
        read_all(source)
    with pytest.raises(SourceError, match="failed to start command"):
        source.finish()
    source.close()


def test_full_pipes(tmp_path: Path) -> None:
    """A command that fills both pipes waits for ever if one of them is not emptied."""
    reporter = Listening()
    megabytes = 8
    script = f"head -c {megabytes}000000 /dev/zero >&2; head -c {megabytes}000000 /dev/zero; echo last words >&2"
    source = shell(script, reporter)
    [content] = read_all(source)
    source.finish()
    source.close()
    assert len(content) == megabytes * 10**6
    assert reporter.warnings[-1].endswith("last words")


def test_standard_error_is_passed_on() -> None:
    """Why a dump failed is only said there."""
    reporter = Listening()
    source = shell("echo oh >&2; printf 'dear\\377' >&2; echo x", reporter)
    read_all(source)
    source.finish()
    assert reporter.warnings == ["subprocess sh: oh", "subprocess sh: dear\ufffd"]


def test_standard_error_without_a_reporter(capfd: pytest.CaptureFixture[str]) -> None:
    """The library's user sees it as if the command had been run by hand."""
    source = shell("echo oh >&2; echo x")
    read_all(source)
    source.finish()
    assert capfd.readouterr().err == "oh\n"


def test_abort_ends_the_command_and_its_children(tmp_path: Path) -> None:
    """restic 5683: a failed upload left the dump running, and it held its locks on the database."""
    pids = tmp_path / "pids"
    source = shell(f"sleep 600 & echo $! $$ > {pids}; echo x; wait")
    [target] = source.targets()
    assert target.entry.stream is not None
    stream = target.entry.stream()
    stream.read(1)
    running = [int(pid) for pid in wait_for(pids).split()]
    assert all(map(alive, running))
    begin = time.monotonic()
    source.close()
    assert time.monotonic() - begin < 60
    deadline = time.monotonic() + 60
    while any(map(alive, running)):
        assert time.monotonic() < deadline, "something still runs"
        time.sleep(0.01)
    source.close()
    stream.close()


def test_abort_asks_first(tmp_path: Path) -> None:
    """A dump that is asked to end can take its lock files away."""
    tidy, ready = tmp_path / "tidy", tmp_path / "ready"
    source = shell(f"trap 'echo done > {tidy}; exit' TERM; echo x; echo go > {ready}; while :; do sleep 0.05; done")
    [target] = source.targets()
    assert target.entry.stream is not None
    stream = target.entry.stream()
    wait_for(ready)
    source.close()
    stream.close()
    assert tidy.exists()


def test_abort_kills_what_does_not_listen(tmp_path: Path) -> None:
    """Ctrl-C has to end the backup within a second or two, whatever the command makes of SIGTERM."""
    ready = tmp_path / "ready"
    source = shell(f"trap '' TERM; echo x; echo $$ > {ready}; while :; do sleep 0.05; done")
    [target] = source.targets()
    assert target.entry.stream is not None
    stream = target.entry.stream()
    pid = int(wait_for(ready))
    begin = time.monotonic()
    source.close()
    assert time.monotonic() - begin < 60
    stream.close()
    assert not alive(pid)


def test_abort_wakes_a_waiting_reader() -> None:
    """A reader that waits for a silent command in another thread would keep the process from ending."""
    source = shell("echo x; sleep 600")
    [target] = source.targets()
    assert target.entry.stream is not None
    stream = target.entry.stream()
    stream.read(2)
    ended: list[Exception | bytes] = []

    def wait_for_more() -> None:
        try:
            ended.append(stream.read(1))
        except SourceError as error:
            ended.append(error)

    reader = threading.Thread(target=wait_for_more)
    reader.start()
    time.sleep(0.1)
    assert not ended
    source.close()
    reader.join(60)
    assert len(ended) == 1


def test_several_commands() -> None:
    """Asked for since 2016 (restic 2133): several dumps in one snapshot."""
    source = CommandSource.open(SourceRequest(["a.txt=echo 'one word'", "b/c.txt=printf x=y"]))
    assert source.snapshot_paths == ["/a.txt", "/b/c.txt"]
    assert read_all(source) == [b"one word\n", b"x=y"]
    source.finish()
    source.close()


def test_one_of_several_fails() -> None:
    """A snapshot with one of two dumps missing would be taken for complete."""
    source = CommandSource.open(SourceRequest(["a=echo x", "b=sh -c 'echo y; exit 2'"]))
    read_all(source)
    with pytest.raises(SourceError, match="exit status 2"):
        source.finish()
    source.close()


@pytest.mark.parametrize("target", ["a=", "a='", "a=echo x|a=echo y", "=echo x"])
def test_bad_command_lines(target: str) -> None:
    """A mistake in an argument is told, never run."""
    with pytest.raises(UsageError):
        CommandSource.open(SourceRequest(target.split("|")))


def test_nothing_runs_before_it_is_read(tmp_path: Path) -> None:
    """A wrong password must not cost an hour of dumping, nor a dry look at the targets."""
    mark = tmp_path / "ran"
    source = command("touch", str(mark))
    source.targets()
    source.finish()
    source.close()
    assert not mark.exists()


def test_closing_many_leaves_no_descriptors() -> None:
    """A program that backs up every hour for a year runs out of them."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        source = shell("echo x")
        read_all(source)
        source.finish()
        source.close()
    assert len(os.listdir("/proc/self/fd")) <= before + 2

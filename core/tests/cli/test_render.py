"""The reporters: restic's lines and documents, and the progress display on a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from limpet.cli.items import item_document, item_line
from limpet.cli.options import GlobalOptions
from limpet.cli.rate import RateEstimator
from limpet.cli.render import make_reporter
from limpet.cli.status import status_document, status_line
from limpet.cli.terminal import Terminal
from limpet.cli.ticker import Ticker
from limpet.errors import SourceError
from limpet.progress import ItemEvent, Progress

NEW = ItemEvent("new", "/a\x1bb", size_bytes=5, duration_s=1.5, data_size_bytes=2048, data_stored_bytes=1024)
FOLDER = ItemEvent("modified", "/d", is_folder=True, metadata_size_bytes=400, metadata_stored_bytes=300)


def test_items_as_text() -> None:
    """-vv would look unlike restic's, or a name could steer the terminal."""
    assert item_line("backup", NEW) == r'new       "/a\x1bb", saved in 1.500s (2.000 KiB added, 1.000 KiB stored)'
    assert item_line("backup", FOLDER) == "modified  /d, saved in 0.000s (0 B added, 0 B stored, 300 B metadata)"
    assert item_line("backup", ItemEvent("unchanged", "/x")) == "unchanged /x"
    assert item_line("restore", ItemEvent("restored", "/x", size_bytes=7)) == "restored  /x with size 7 B"
    assert item_line("restore", ItemEvent("deleted", "/x")) == "deleted   /x"


def test_items_as_documents() -> None:
    """Programs that watch a backup or restore would miss restic's keys."""
    assert item_document("backup", NEW) == {
        "message_type": "verbose_status",
        "action": "new",
        "item": "/a\x1bb",
        "duration": 1.5,
        "data_size": 2048,
        "data_size_in_repo": 1024,
        "metadata_size": 0,
        "metadata_size_in_repo": 0,
        "total_files": 0,
    }
    assert item_document("restore", ItemEvent("updated", "/x", size_bytes=7)) == {
        "message_type": "verbose_status",
        "action": "updated",
        "item": "/x",
        "size": 7,
    }


def test_status_line() -> None:
    """Nobody could see how far a run is."""
    progress = Progress("backup", files_done=3, bytes_done=1 << 20, errors=1)
    assert status_line(progress, 61, 0) == "[1:01] 3 files, 1.000 MiB, 1 errors"
    progress.files_total, progress.bytes_total = 10, 4 << 20
    assert status_line(progress, 61, 30) == (
        "[1:01] 25.00%  3 files 1.000 MiB, total 10 files 4.000 MiB, 1 errors ETA 0:30"
    )
    progress.operation, progress.files_skipped = "restore", 2
    assert status_line(progress, 61, 0) == (
        "[1:01] 25.00%  3 files/dirs 1.000 MiB, total 10 files/dirs 4.000 MiB, skipped 2 files/dirs 0 B"
    )
    assert status_line(Progress("packs", files_done=1, files_total=4), 0, 0) == "[0:00] 25.00%  1 / 4 packs"


def test_status_document_leaves_out_zeros_as_go_does() -> None:
    """A program written for restic's documents would meet keys it never saw."""
    assert status_document(Progress("backup"), 0.5, 0) == {"message_type": "status", "percent_done": 0}
    progress = Progress("backup", 3, 10, 1 << 20, 4 << 20, errors=1, current={"/b": None, "/a": None})
    assert status_document(progress, 61.5, 30) == {
        "message_type": "status",
        "seconds_elapsed": 61,
        "seconds_remaining": 30,
        "percent_done": 0.25,
        "total_files": 10,
        "files_done": 3,
        "total_bytes": 4 << 20,
        "bytes_done": 1 << 20,
        "error_count": 1,
        "current_files": ["/a", "/b"],
    }
    progress.operation = "restore"
    assert status_document(progress, 0, 0)["files_restored"] == 3


@pytest.mark.parametrize("is_json", [False, True])
def test_errors_go_to_standard_error(capfdbinary: pytest.CaptureFixture[bytes], is_json: bool) -> None:
    """`limpet backup > log` would hide what could not be read."""
    terminal = Terminal()
    reporter = make_reporter(terminal, GlobalOptions(json=is_json))
    reporter.begin(Progress("backup"))
    reporter.error(SourceError("open /x: permission denied"), during="archival", item="/x")
    reporter.end()
    reporter.begin(Progress("restore"))
    reporter.error(SourceError("no space"), during="restore", item="/y")
    reporter.note("a note")
    reporter.end()
    reporter.end()
    terminal.flush()
    out, err = capfdbinary.readouterr()
    if is_json:
        first, second = (json.loads(line) for line in err.splitlines())
        assert first["error"] == {"message": "open /x: permission denied"}
        assert (first["during"], second["during"], second["item"]) == ("archival", "restore", "/y")
        assert out == b""
    else:
        assert err == b"error: open /x: permission denied\nignoring error for /y: no space\n"
        assert out == b"a note\n"


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        (GlobalOptions(quiet=True), []),
        (GlobalOptions(), ["n0", "n1"]),
        (GlobalOptions(verbose=1), ["n0", "n1", "n2"]),
        (GlobalOptions(verbose=2), ["n0", "n1", "n2", "n3"]),
        (GlobalOptions(json=True, verbose=2), []),
    ],
)
def test_notes_by_verbosity(
    capfdbinary: pytest.CaptureFixture[bytes], options: GlobalOptions, notes: list[str]
) -> None:
    """--quiet would not be quiet, or a JSON stream would hold lines that are no JSON."""
    terminal = Terminal()
    reporter = make_reporter(terminal, options)
    for verbosity in range(4):
        reporter.note(f"n{verbosity}", verbosity=verbosity)
    terminal.flush()
    assert capfdbinary.readouterr()[0].decode().split() == notes


def test_json_status_comes_while_the_operation_runs(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graphical front end would stand still until the end."""
    monkeypatch.setenv("RESTIC_PROGRESS_FPS", "50")
    reporter = make_reporter(Terminal(), GlobalOptions(json=True))
    begun = time.monotonic()
    reporter.begin(Progress("backup", files_done=1))
    printed = b""
    while printed.count(b"\n") < 3:
        assert time.monotonic() < begun + 60
        time.sleep(0.05)
        printed += capfdbinary.readouterr()[0]
    reporter.end()
    most = (time.monotonic() - begun) * 50 + 2
    documents = [json.loads(line) for line in (printed + capfdbinary.readouterr()[0]).splitlines()]
    assert len(documents) <= most
    assert all(document["message_type"] == "status" for document in documents)


def test_rate_and_time_left() -> None:
    """The time left would jump with every burst, or divide by zero at the start."""
    now = [0.0]
    rate = RateEstimator(lambda: now[0])
    assert (rate.bytes_per_s, rate.remaining_s(10**6)) == (0.0, 0)
    for second in range(1, 100):
        now[0] = second
        rate.record(second * 10_000)
    assert rate.bytes_per_s == pytest.approx(10_000)
    assert rate.remaining_s(50_000) == 5


def test_a_ticker_stops_for_good() -> None:
    """A status line would be printed into the summary."""
    calls: list[int] = []
    ticker = Ticker(0.01, lambda: calls.append(1))
    deadline = time.monotonic() + 60
    while len(calls) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    ticker.stop()
    count = len(calls)
    time.sleep(0.05)
    assert count == len(calls)


SHOW = """
import sys, time
from limpet.cli.options import GlobalOptions
from limpet.cli.render import make_reporter
from limpet.cli.terminal import Terminal
from limpet.progress import Progress
terminal = Terminal()
reporter = make_reporter(terminal, GlobalOptions())
progress = Progress("backup", 1, 4, 1 << 20, 4 << 20, current={"/in/wo\\x1b[31mrk": None})
reporter.begin(progress)
time.sleep(0.5)
reporter.note("a line meanwhile")
terminal.error("an \\x1b[2Jerror")
time.sleep(0.3)
reporter.end()
terminal.print("done")
"""


def screen_of(start: Callable[[int], subprocess.Popen[bytes]]) -> str:
    """All that a process writes to its terminal."""
    ours, theirs = pty.openpty()
    process = start(theirs)
    os.close(theirs)
    seen = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return seen.decode()


def test_display_on_a_terminal() -> None:
    """A person would see no bar, or file names could steer the screen (restic issue 2260)."""
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    command = [sys.executable, "-c", SHOW]
    screen = screen_of(lambda fd: subprocess.Popen(command, stdin=fd, stdout=fd, stderr=fd, env=environment))
    assert "total 4 files 4.000 MiB, 0 errors" in screen
    assert "━" in screen
    assert r"/in/wo\x1b[31mrk" in screen
    assert "wo\x1b[31mrk" not in screen
    assert r"an \x1b[2Jerror" in screen
    assert "a line meanwhile\r\n" in screen
    assert screen.endswith("done\r\n")
    assert "\x1b[?25h" in screen, "the cursor stays hidden"


def test_no_display_in_a_pipe(tmp_path: Path) -> None:
    """Log files would fill up with control sequences."""
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, check=True, cwd=tmp_path)
    assert done.stdout == b"a line meanwhile\ndone\n"
    assert done.stderr == b"an \x1b[2Jerror\n"

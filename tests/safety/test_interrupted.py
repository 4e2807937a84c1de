"""Ctrl-C, SIGTERM, a closed terminal, a closed pipe: the run ends soon and cleanly, and its packs are of use."""

from __future__ import annotations

import fcntl
import os
import pty
import random
import re
import select
import signal
import time

import pytest
from limpet.testing.restic import Restic

from tests.safety.program import Running
from tests.safety.scene import Scene

ROUNDS, LONG_ROUNDS = 6, 100
SMALL_PACKS = ("--pack-size", "4")


@pytest.mark.parametrize("number", range(ROUNDS))
def test_ctrl_c_at_a_random_moment(scene: Scene, duration_s: float, restic_new: Restic, number: int) -> None:
    """Whoever gives up on a backup must get the prompt back at once, and find the repository unlocked and sound."""
    _interrupted_at_a_random_moment(scene, duration_s, restic_new, number, ROUNDS)


@pytest.mark.long
@pytest.mark.parametrize("number", range(LONG_ROUNDS))
def test_ctrl_c_at_a_random_moment_often(scene: Scene, duration_s: float, restic_new: Restic, number: int) -> None:
    """The same so often that every stretch of the run is hit."""
    _interrupted_at_a_random_moment(scene, duration_s, restic_new, number, LONG_ROUNDS)


def _interrupted_at_a_random_moment(scene: Scene, duration_s: float, restic: Restic, number: int, rounds: int) -> None:
    moment = duration_s * (number + random.Random(number).random()) / rounds
    backup = scene.site.start(*SMALL_PACKS, "backup", scene.source)
    # Before its handlers are there Python ends as Python does; that is no backup yet.
    backup.wait_until(lambda: catches_signals(backup), "signals are caught")
    time.sleep(max(0.0, backup.started + moment - time.monotonic()))
    backup.signal_group(signal.SIGINT)
    _assert_ends_cleanly(scene, backup, may_be_done=True)
    scene.judge(restic, snapshots=None)


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_packs_of_an_interrupted_run_are_used(
    scene: Scene, restic_new: Restic, number: signal.Signals, to_all: bool
) -> None:
    """An hour of upload must not be lost to a Ctrl-C, nor to a SIGTERM at shutdown."""
    fresh = scene.copied(scene.site.folder / "fresh")
    before = len(scene.site.files("data"))
    backup = scene.site.start(*SMALL_PACKS, "backup", *scene.held)
    backup.wait_until(lambda: len(scene.site.files("data")) >= before + 4, "packs are stored")
    if to_all:
        backup.signal_group(number)
    else:
        backup.signal_parent(number)
    _assert_ends_cleanly(scene, backup)
    assert added_mib(scene) < added_mib(fresh) - 8
    fresh.site.close()
    scene.judge(restic_new, snapshots=2)


def test_interrupted_twice(scene: Scene, restic_new: Restic) -> None:
    """An impatient second Ctrl-C must not break the clean-up that the first began."""
    backup = scene.site.start(*SMALL_PACKS, "backup", *scene.held)
    backup.wait_until(lambda: len(scene.site.files("data")) > 4, "packs are stored")
    backup.signal_group(signal.SIGINT)
    time.sleep(0.02)
    backup.signal_group(signal.SIGINT)
    _assert_ends_cleanly(scene, backup)
    scene.judge(restic_new)


def test_interrupted_during_start_up(scene: Scene) -> None:
    """Python ends itself by a signal if Ctrl-C comes while dataclasses are made: scripts look for 130."""
    for number in range(15):
        backup = scene.site.start("backup", "--dry-run", scene.source)
        backup.wait_until(lambda backup=backup: catches_signals(backup), "signals are caught")  # type: ignore[misc]
        time.sleep(number * 0.015)
        backup.signal_group(signal.SIGINT)
        _assert_ends_cleanly(scene, backup, may_be_done=True)


@pytest.mark.parametrize("command", ["check", "restore"])
def test_reading_commands_interrupted(scene: Scene, command: str) -> None:
    """Ctrl-C ends a check or a restore as soon, without a lock or workers left."""
    scene.site.run("backup", scene.source)
    arguments = ["check", "--read-data"] if command == "check" else ["restore", "latest", "--target"]
    if command == "restore":
        arguments.append(str(scene.site.folder / "target"))
    running = scene.site.start(*arguments)
    running.wait_until(lambda: bool(scene.site.files("locks")), "the lock is there")
    time.sleep(0.3)
    running.signal_group(signal.SIGINT)
    _assert_ends_cleanly(scene, running, may_be_done=True)


@pytest.mark.parametrize(("flags", "hangup"), [((), True), (("-vv",), False)])
def test_closed_terminal(scene: Scene, restic_new: Restic, flags: tuple[str, ...], hangup: bool) -> None:
    """A backup begun over a connection that breaks goes on to its end, as restic's does."""
    ours, theirs = pty.openpty()
    scene.site.variables["TERM"] = "xterm"  # with a progress display
    before = len(scene.site.files("data"))
    backup = scene.site.start(*SMALL_PACKS, *flags, "backup", scene.source, stdout=theirs)
    os.close(theirs)
    backup.wait_until(lambda: _drained(ours) and len(scene.site.files("data")) > before + 2, "packs are stored")
    backup.signal_group(signal.SIGSTOP)
    os.close(ours)
    if hangup:
        backup.signal_group(signal.SIGHUP)
    backup.signal_group(signal.SIGCONT)
    ended = backup.end(limit_s=60)
    assert (ended.code, ended.err) == (0, "")
    backup.assert_none_survives()
    scene.judge(restic_new, snapshots=2)


def test_closed_pipe(scene: Scene, restic_new: Restic) -> None:
    """`limpet backup -vv | head -1` must end without a stack trace, a lock or workers left."""
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)  # not all of the output: something is still to come when we close
    backup = scene.site.start(*SMALL_PACKS, "-vv", "backup", scene.source, stdout=theirs)
    os.close(theirs)
    assert os.read(ours, 1)
    os.close(ours)
    ended = backup.end(limit_s=60)
    assert ended.code == 141, ended.err
    assert ended.err == ""
    backup.assert_none_survives()
    scene.judge(restic_new, snapshots=None)


def catches_signals(running: Running) -> bool:
    """Whether the process has its handlers: Python has one for SIGINT from the start, but none for SIGTERM."""
    try:
        with open(f"/proc/{running.pid}/status") as status:
            mask = re.search("^SigCgt:\\s*([0-9a-f]+)", status.read(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return mask is not None and bool(int(mask[1], 16) >> (signal.SIGTERM - 1) & 1)


def added_mib(scene: Scene) -> float:
    """How much a backup of the source adds."""
    printed = scene.site.run("--json", "backup", scene.source).out
    found = re.search('"data_added": ?([0-9]+)', printed)
    assert found is not None, printed
    return int(found[1]) / (1 << 20)


def _drained(terminal: int) -> bool:
    """Read what is shown, as somebody must; always true."""
    while select.select([terminal], [], [], 0)[0]:
        os.read(terminal, 65536)
    return True


def _assert_ends_cleanly(scene: Scene, running: Running, *, may_be_done: bool = False) -> None:
    ended = running.end(limit_s=60)
    assert ended.code == 130 or (may_be_done and ended.code == 0), ended.err
    assert "Traceback" not in ended.err
    assert "Fatal" not in ended.err
    assert not scene.site.files("locks")
    assert not scene.site.temporary_files()
    running.assert_none_survives()

"""Programs of the system, run by hooks: what they print, how they fail, and that none is waited for for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from limpet.contracts.programs import run_program
from limpet.errors import HookError


def test_what_it_prints() -> None:
    """The answer of `lvs` is what a hook decides by; in another language nobody would understand it."""
    assert run_program(["sh", "-c", "echo $LC_ALL; cat"], 60) == "C\n"


def test_administrators_programs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """cron's PATH does not have them."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "/usr/sbin" in run_program(["sh", "-c", "echo $PATH"], 60)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo first >&2; echo '  the reason ' >&2; exit 3", r"^sh failed: the reason \(exit status 3\)"),
        ("exit 1", r"it said nothing \(exit status 1\)"),
        ("kill -9 $$", r"it said nothing \(killed by signal 9\)"),
    ],
)
def test_failures(script: str, words: str) -> None:
    """The one line that a user gets has to have the program's own reason in it."""
    with pytest.raises(HookError, match=words):
        run_program(["sh", "-c", script], 60)


def test_what_is_not_there() -> None:
    """A missing program is the most common mistake of all."""
    with pytest.raises(HookError, match="the program no-such-program is not installed"):
        run_program(["no-such-program", "x"], 60)


def test_one_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """It would keep every later backup from running."""
    mark = tmp_path / "pid"
    begin = time.monotonic()
    with pytest.raises(HookError, match=r"^sh took longer than 3 s and was ended"):
        run_program(["sh", "-c", f"trap '' TERM; sleep 600 & echo $! > {mark}; wait; sleep 600"], 3)
    assert time.monotonic() - begin < 300
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{mark.read_text().strip()}/cmdline"):
        if not Path(f"/proc/{mark.read_text().strip()}/cmdline").read_bytes():
            break  # dead; nobody has asked how it ended
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_one_that_must_not_be_killed(tmp_path: Path) -> None:
    """A volume that `lvcreate` has stopped, and nobody starts again, hangs the whole machine."""
    done = tmp_path / "done"
    with pytest.raises(HookError, match="is not to be ended: it may still run"):
        run_program(["sh", "-c", f"trap '' TERM; sleep 4; touch {done}"], 0.1, may_be_killed=False)
    deadline = time.monotonic() + 60
    while not done.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_only_the_words_that_say_what_it_does_are_shown() -> None:
    """A line with all options of `lvcreate` hides the reason behind it."""
    with pytest.raises(HookError, match=r"^env false failed"):
        run_program(["env", "false", "--option", "/a/path"], 60)

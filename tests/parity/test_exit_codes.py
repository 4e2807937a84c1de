"""Exit codes, and with --json the `exit_error` on standard error: the same of both programs, for every command."""

from __future__ import annotations

import json
from typing import Any

import pytest
from limpet.testing.restic import Restic

from tests.parity.conftest import Both
from tests.parity.programs import PASSWORD, Ended
from tests.parity.restic_help import commands

pytestmark = pytest.mark.interop

LINES = {
    "backup": "backup .",
    "cat": "cat config",
    "check": "check",
    "copy": "copy --from-repo {place}/repository",
    "diff": "diff latest latest",
    "dump": "dump latest /",
    "find": "find x",
    "forget": "forget --keep-last 1",
    "key add": "key add",
    "key list": "key list",
    "key passwd": "key passwd",
    "key remove": "key remove abc",
    "list": "list keys",
    "ls": "ls latest",
    "migrate": "migrate",
    "mount": "mount /dev/shm",  # a folder that everybody may write to, and that has no repository in it
    "prune": "prune",
    "recover": "recover",
    "repair index": "repair index",
    "repair packs": "repair packs " + "ab" * 32,
    "repair snapshots": "repair snapshots",
    "restore": "restore latest --target target",
    "rewrite": "rewrite --exclude x",
    "snapshots": "snapshots",
    "stats": "stats",
    "tag": "tag --add x",
    "unlock": "unlock",
}
"""Every command that opens a repository, with as little as it takes to get there."""
NOT_OPENING = {"", "cache", "features", "generate", "init", "key", "options", "repair", "version"}
FAILURES = {
    10: ("history", "-r {place}/nowhere", {}),
    11: ("locked", "", {}),
    12: ("history", "", {"RESTIC_PASSWORD": "wrong"}),
}
"""By exit code: the repository, more arguments, more variables."""


@pytest.mark.parametrize("name", LINES)
def test_there_is_no_repository(both: Both, name: str) -> None:
    """Scripts make a repository where they see exit code 10, and nothing else may end with it."""
    compare(both, name, 10)


@pytest.mark.parametrize("code", [11, 12])
@pytest.mark.parametrize("name", ["forget", "prune", "key list", "snapshots"])
def test_locked_and_wrong_password(both: Both, name: str, code: int) -> None:
    """Wrappers wait where they see 11, ask again where they see 12, and give up at any other code."""
    if (name, code) == ("snapshots", 11):
        name = "check"  # what only reads a list needs no exclusive lock in restic, and waits for nobody
    compare(both, name, code)


@pytest.mark.parametrize(
    "line", ["snapshots --no-such-flag", "snapshots --pack-size x", "snapshots -q -v", "no-such-command", "init"]
)
def test_usage_errors(both: Both, line: str) -> None:
    """A typing mistake is exit code 1 with one line of JSON, not a page of help that a wrapper cannot read."""
    theirs, ours = (ended for ended, _ in both.run(["--json", *line.split()], both.start_in("history", writes=True)))
    assert (theirs.exit_code, ours.exit_code) == (1, 1)
    assert ours.out == ""
    if theirs.err.startswith("{"):
        assert exit_error(ours).keys() == exit_error(theirs).keys()


def test_all_commands_are_here(restic_new: Restic) -> None:
    """A new command of restic's would go unseen."""
    assert {command.name for command in commands(restic_new.binary)} == {*LINES, *NOT_OPENING}


def compare(both: Both, name: str, code: int) -> None:
    """Run the command with both; AssertionError unless both end with the code and tell it in the same shape."""
    repository, more, variables = FAILURES[code]
    line = ["--json", *more.split(), *LINES[name].split()]
    variables = {"RESTIC_FROM_PASSWORD": PASSWORD, **variables}
    theirs, ours = (ended for ended, _ in both.run(line, both.start_in(repository, writes=True), env=variables))
    assert (theirs.exit_code, ours.exit_code) == (code, code), f"{theirs.err}\n{ours.err}"
    assert exit_error(ours).keys() == exit_error(theirs).keys()
    assert (exit_error(ours)["message_type"], exit_error(ours)["code"]) == ("exit_error", code)
    assert ours.out == theirs.out


def exit_error(ended: Ended) -> dict[str, Any]:
    """The document in the last line of standard error."""
    document = json.loads(ended.err.splitlines()[-1])
    assert isinstance(document, dict)
    return document

"""The runner of the documentation notices what is wrong on a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import blocks, broken_links, script_commands, session_commands
from tests.docs.shell import Shell, same


@pytest.mark.parametrize(
    ("shown", "real", "expected"),
    [
        (["one", "two"], ["one", "two"], True),
        (["one", "two"], ["one"], False),
        (["one"], ["one", "two"], False),
        ([], ["an unexpected warning"], False),
        (["one", "..."], ["one", "two", "three"], True),
        (["...", "three"], ["one", "two", "four"], False),
        (["snapshot 0123abcd saved"], ["snapshot 4567cdef saved"], True),
        (["snapshot 0123abcd saved"], ["no snapshot saved"], False),
        (["4 files, 2.6 MiB in 0:00"], ["4 files, 2 B   in 0:09"], True),
        (["4 files, 2.6 MiB in 0:00"], ["5 files, 2.6 MiB in 0:00"], False),
        (["at ... by anna@laptop"], ["at noon by anna@laptop"], True),
        (["a.b"], ["aXb"], False),
    ],
)
def test_what_differs_is_seen(shown: list[str], real: list[str], expected: bool) -> None:
    """A comparison that forgives too much lets every page rot."""
    assert same(shown, real) is expected


def test_one_shell_runs_a_page(tmp_path: Path) -> None:
    """Variables, folders and exit codes last from command to command, and errors are shown, as on a terminal."""
    with Shell(tmp_path, {"GREETING": "hello"}) as shell:
        assert shell.run("word=$GREETING; cd /") == (0, [])
        assert shell.run("echo $word $PWD") == (0, ["hello /"])
        code, lines = shell.run("printf 'no newline'; ls /nowhere")
        assert code == 2
        assert lines[0].startswith("no newline")
        assert shell.run("echo $?") == (0, ["2"])
        assert shell.run("cat") == (0, [])
        assert shell.as_shown(f"{tmp_path}/work") == "/home/anna/work"


def test_blocks_commands_and_links(tmp_path: Path) -> None:
    """What the reader of pages overlooks is never tested."""
    page = tmp_path / "page.md"
    page.write_text(
        "# First *part*: it's\n[dead](nowhere.md) [alive](page.md#first-part-its) [gone](#no-such-part)\n"
        "`[code](is no link)`\n"
        "```console\n$ echo one \\\n> two\none two\n$ true\n```\n"
        "<!-- prepare\nmkdir hidden\n-->\n"
        "```sh word\n# a remark\necho a \\\n  b\n\necho c\n```\n"
    )
    console, hidden, script = blocks(page)
    assert [(command.text, command.output) for command in session_commands(console)] == [
        ("echo one \\\ntwo", ["one two"]),
        ("true", []),
    ]
    assert [command.text for command in script_commands(hidden)] == ["mkdir hidden"]
    assert script.words == ("word",)
    assert [(command.text, command.line) for command in script_commands(script)] == [
        ("echo a \\\n  b", 15),
        ("echo c", 18),
    ]
    assert broken_links(page) == ["nowhere.md", "#no-such-part"]

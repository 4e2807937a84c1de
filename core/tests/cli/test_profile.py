"""`limpet profile list|show|check`: what there is, what it comes to, and every mistake at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from limpet.cli.main import main

if TYPE_CHECKING:
    from .conftest import Run

PASSWORD = "geheim-5f3a"
WRONG = "falsch-9d2b"


@pytest.fixture
def config(tmp_path: Path, repository_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration without mistakes, named by LIMPET_CONFIG."""
    (tmp_path / "work").mkdir()
    (tmp_path / "password").write_text(PASSWORD)
    file = tmp_path / "limpet.toml"
    file.write_text(
        f"""\
[repositories.disk]
location = "{repository_path}"
password-file = "password"

[profiles.base]
excludes = ["*.tmp"]

[profiles.home]
inherits = "base"
description = "what I would miss"
repositories = ["disk"]
sources = ["work"]
schedule.at = ["daily", "0 12 * * 1-5"]
"""
    )
    monkeypatch.setenv("LIMPET_CONFIG", str(file))
    return file


def test_list(run: Run, config: Path) -> None:
    """Nobody remembers the names of last year's profiles."""
    ended = run("profile", "list")
    assert ended.exit_code == 0
    assert [line.split() for line in ended.out.splitlines()[3:5]] == [
        ["base"],
        ["home", "base", "daily,", "0", "12", "*", "*", "1-5", "what", "I", "would", "miss"],
    ]
    document = run("profile", "list", "--json").document
    assert document["file"] == str(config)
    assert [one["name"] for one in document["profiles"]] == ["base", "home"]
    assert document["profiles"][1]["schedule"] == ["daily", "0 12 * * 1-5"]


def test_list_asks_for_no_variable(run: Run, config: Path) -> None:
    """The variables of the nightly run are not those of a shell."""
    config.write_text(config.read_text().replace('"work"', '"${NONE}"'))
    assert run("profile", "list").exit_code == 0


def test_show_gives_the_command_lines_that_run(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown and what is run must not be two things."""
    monkeypatch.chdir(config.parent)
    lines = run("profile", "show", "home").out.splitlines()
    assert lines[0] == "profile home: what I would miss"
    command = lines[-1].split()
    assert command[:2] == ["limpet", "backup"]
    assert main([word.strip("'") for word in command[1:]]) == 0
    document = run("profile", "show", "home", "--json").document
    assert document["commands"] == [{"command": "backup", "repository": "disk", "line": lines[-1]}]
    assert document["settings"]["excludes"] == {"value": ["*.tmp"], "line": 6}


@pytest.mark.parametrize("command", [["run"], ["profile", "show"], ["profile", "check"], ["schedule", "install"]])
def test_a_profile_that_is_not_there_names_its_neighbour(run: Run, config: Path, command: list[str]) -> None:
    """A typing mistake would leave the user to search."""
    ended = run(*command, "hoem")
    assert ended.exit_code == 1
    assert ended.err == f"Fatal: {config}: 'hoem' is no profile; did you mean 'home'?\n"


def test_check_finds_nothing_where_nothing_is(run: Run, config: Path) -> None:
    """A check that always complains is not run."""
    assert run("profile", "check").out == f"no mistakes found in {config}\n"
    assert run("profile", "check", "home", "--json").document["mistakes"] == []


def test_check_tells_all_mistakes_at_once_in_their_order(run: Run, config: Path) -> None:
    """One mistake at a time is an evening's work; one in a repository that no profile uses yet comes later."""
    config.write_text(
        config.read_text()
        + """\
extend-sources = ["${NONE}", "wrok", "postgers://app@localhost/shop"]
extend-excludes = ["[a"]
flags.cacert = "none.pem"
backup.exclude-file = ["none"]
environment.X_TOKEN = "${NONE}"
options.local.connections = "many"
hooks.run = ["shell"]
options.shell.timeout = 0
schedule.randomized-delay = "soon"

[repositories.other]
location = "${NONE}"
pasword-file = "x"

[profiles.third]
inherits = "home"
schedule.at = "at noon"
"""
    )
    ended = run("profile", "check")
    assert ended.exit_code == 1
    told = [line.removeprefix(f"{config}, line ").partition(": ") for line in ended.out.splitlines()]
    places = [(int(line), rest.partition(": ")[0]) for line, _, rest in told]
    assert places == sorted(places, key=lambda place: place[0])
    assert set(places) >= {
        (14, "profiles.home.extend-sources"),
        (16, "profiles.home.flags.cacert"),
        (17, "profiles.home.backup.exclude-file"),
        (18, "profiles.home.environment.X_TOKEN"),
        (19, "profiles.home.options.local.connections"),
        (25, "repositories.other.location"),
        (26, "repositories.other.pasword-file"),
        (30, "profiles.third.schedule.at"),
    }
    assert len(set(told)) == len(told)
    assert ended.err == f"{len(told)} mistakes\n"
    document = run("profile", "check", "--json").document
    assert [(one["line"], one["key"]) for one in document["mistakes"]] == places


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('extend-sources = ["wrok"]', "wrok does not exist"),
        ('extend-sources = ["postgers://app@localhost/shop"]', "is no installed source; "),
        ('extend-excludes = ["[a"]', "line 14: profiles.home.extend-excludes: "),
        ('hooks.run = ["shell"]\noptions.shell.timeout = 0', "profiles.home.hooks.run: option shell.timeout must"),
        ('schedule.at = "61 * * * *"', "'61 * * * *' is no time of cron's: Bad minute"),
        ('[profiles.x]\nsources = ["/"]', "profiles.x: has no `repositories`"),
    ],
)
def test_check_looks_at_what_is_behind_the_words(run: Run, config: Path, added: str, said: str) -> None:
    """Right words can be wrong all the same, and the run would be the first to notice."""
    text = config.read_text()
    if added.startswith("schedule.at"):
        text = text.replace('schedule.at = ["daily", "0 12 * * 1-5"]\n', "")
    config.write_text(text + added + "\n")
    ended = run("profile", "check")
    assert ended.exit_code == 1
    assert said in ended.out


def test_check_opens_the_repositories_only_when_asked(run: Run, config: Path) -> None:
    """Without a network a check would fail; and with one nobody would know whether the password is right."""
    assert run("profile", "check", "home", "--open").exit_code == 0
    (config.parent / "password").write_text(WRONG)
    assert run("profile", "check", "home").exit_code == 0
    ended = run("profile", "check", "--open")
    assert ended.exit_code == 12
    assert ended.err.endswith("profile 'home': disk cannot be opened\n")


def test_shells_complete_profiles(run: Run, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is typed in full each time, or wrongly."""
    monkeypatch.setenv("_LIMPET_COMPLETE", "bash_complete")
    for command in ("run", "profile show", "schedule install"):
        monkeypatch.setenv("COMP_WORDS", f"limpet {command} h")
        monkeypatch.setenv("COMP_CWORD", str(len(command.split()) + 1))
        assert run().out == "plain,home\n"
    config.write_text("[[")
    assert run().exit_code == 0

"""restic's own help, line by line, beside Limpet's commands and the page that describes them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache

import click
import pytest
from limpet.cli.features import FEATURES
from limpet.testing.restic import Restic

from tests.parity.commands_page import (
    DEPRECATED,
    NOTES,
    PAGE,
    default_of,
    limpet_command,
    limpet_options,
    page,
)
from tests.parity.conftest import Both
from tests.parity.restic_help import Command, commands, takes


@cache
def all_commands(restic: Restic) -> Sequence[Command]:
    """restic is asked once."""
    return commands(restic.binary)


def test_help_is_understood(restic_new: Restic) -> None:
    """A help that is read as empty would make all the other tests pass."""
    found = {command.name: command for command in all_commands(restic_new)}
    assert len(found) >= 36
    assert {"backup", "key add", "repair index", "options", "version", ""} <= set(found)
    by_name = {flag.name: flag for flag in found[""].flags}
    assert len(by_name) >= 26
    assert by_name["--repo"].spellings == ["-r", "--repo"]
    assert (by_name["--compression"].value, by_name["--compression"].default) == ("mode", "auto")
    assert by_name["--json"].value is None
    assert next(flag for flag in found["backup"].flags if flag.name == "--exclude").is_repeatable


def test_every_command_is_there(restic_new: Restic) -> None:
    """`alias restic=limpet` would end in `unknown command` one night."""
    assert [command.name for command in all_commands(restic_new) if limpet_command(command.path) is None] == []


def test_every_flag_is_there(restic_new: Restic) -> None:
    """A script's flag would be refused."""
    missing = [
        f"{command.name} {spelling}"
        for command in all_commands(restic_new)
        for flag in command.flags
        for spelling in flag.spellings
        if flag.name != "--help" and spelling not in _taken(command)
    ]
    assert missing == []


def test_flags_take_the_same_kind_of_value(restic_new: Restic) -> None:
    """A flag with a value where restic has a switch eats the argument behind it."""
    different = [
        f"{command.name} {flag.name}"
        for command in all_commands(restic_new)
        for flag in command.flags
        if (option := _taken(command).get(flag.name)) is not None
        and ((flag.value is None) != (option.is_flag or option.count) or (flag.is_repeatable and not option.multiple))
    ]
    assert different == []


def test_defaults_are_the_same(restic_new: Restic) -> None:
    """Without the flag the two would do different things."""
    different = [
        f"{command.name} {flag.name}: {flag.default}, not {default_of(option)}"
        for command in all_commands(restic_new)
        for flag in command.flags
        if flag.default is not None
        and (option := _taken(command).get(flag.name)) is not None
        and flag.default not in _as_restic_shows(default_of(option))
    ]
    assert different == []


@pytest.mark.parametrize(("name", "flag"), [(name, flag) for name, flag, _ in DEPRECATED])
def test_what_help_is_silent_about(restic_new: Restic, name: str, flag: str) -> None:
    """Old scripts use what was renamed long ago; and this list must not be of things that restic never had."""
    assert takes(restic_new.binary, name.split(), flag)
    command = limpet_command(name.split())
    assert command is not None
    options = limpet_options(name.split())
    if flag:
        spelling, equals, _ = flag.partition("=")
        assert options[spelling].is_flag != bool(equals)
        assert options[spelling].hidden


@pytest.mark.parametrize(
    "line",
    [
        "--host nobody snapshots",
        "--tag=nothing --host=nobody snapshots --json",
        "-c snapshots",
        "--compact=false snapshots",
        "-vr={place}/repository snapshots -c=true",
        "-q=false snapshots --json=T",
        "--verbose=2 --verbose=0 snapshots --latest=1",
        "snapshots --json=false -- latest",
        "-o local.connections=3,local.connections=3 --cleanup-cache --no-lock snapshots -q",
        "--dry-run snapshots latest",
        "key -q list",
        "--json key list",
        "-r {place}/repository -r {place}/repository list keys",
        "--limit-upload=-1 --retry-lock=-1s snapshots -q",
        "snapshots --retry-lock 5",
        "snapshots --json=perhaps",
        "snapshots -r",
        "-o =x snapshots",
    ],
)
def test_spellings(both: Both, line: str) -> None:
    """Scripts spell flags in every way that restic understands, on either side of the command."""
    (theirs, normal), (ours, _) = both.run(line.split(), both.start_in("history", writes=False))
    assert ours.exit_code == theirs.exit_code, ours.err
    if not theirs.exit_code and "=0" not in line:
        assert normal.text(ours.out) == normal.text(theirs.out)


def test_features_are_restics(restic_new: Restic) -> None:
    """A feature that restic knows would be an error here; one that it does not know would be one there."""
    shown = subprocess.run([restic_new.binary, "features"], capture_output=True, text=True, check=True).stdout
    rows = [line.split()[:3] for line in shown.splitlines()]
    theirs = [row for row in rows if row[2:] in (["true"], ["false"])]
    assert theirs == [[feature.name, feature.stage.value, str(feature.stage.default).lower()] for feature in FEATURES]


def test_the_page_is_up_to_date(restic_new: Restic) -> None:
    """A page that is wrong in one line is not believed in the others."""
    assert page(restic_new.binary) == PAGE.read_text(), (
        f"{PAGE.name} is old: run `python -m tests.parity.commands_page {restic_new.binary.name}`"
    )


def test_notes_are_about_something(restic_new: Restic) -> None:
    """An excuse for a flag that is gone hides the next one of that name."""
    known = {(command.name, flag.name) for command in all_commands(restic_new) for flag in command.flags}
    known |= {(command.name, "") for command in all_commands(restic_new)}
    unknown = [
        (name, flag)
        for name, flag in NOTES
        if (name, flag) not in known
        and (limpet_command(name.split()) is None or (flag and flag not in limpet_options(name.split())))
    ]
    assert unknown == []


def _taken(command: Command) -> dict[str, click.Option]:
    return limpet_options(command.path)


def _as_restic_shows(default: object) -> set[str]:
    """The ways in which restic's help may show this default."""
    ways = {str(default)}
    if isinstance(default, float):
        minutes, seconds = divmod(int(default), 60)
        ways.add(f"{minutes}m{seconds}s")
    if isinstance(default, tuple):
        ways.add(",".join(map(str, default)))
    return ways

"""Global options: anywhere on the command line, in restic's notation, with defaults from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from limpet.cli.group import normalise_flags
from limpet.cli.main import root_command
from limpet.cli.options import GlobalOptions
from limpet.cli.session import Session
from limpet.errors import UsageError

if TYPE_CHECKING:
    from .conftest import Run


def parsed(*arguments: str) -> GlobalOptions:
    """The options that `version` would run with."""
    session = Session()
    session.load_environment()
    root = root_command()
    with root.make_context("limpet", list(arguments), obj=session) as context:
        root.invoke(context)
    return session.options


@pytest.mark.parametrize(
    "arguments",
    [
        ["-r", "x", "--json", "version", "-vv"],
        ["version", "--repo=x", "-v", "--json", "-v"],
        ["-r=x", "--verbose=2", "--json=true", "version"],
        ["-v", "version", "-rx", "--verbose", "--json=1"],
        ["--json=false", "version", "--repo", "x", "-v=2", "--json"],
    ],
)
def test_options_before_and_after_the_command(arguments: list[str]) -> None:
    """Scripts written for restic put global flags on either side, and give levels and switches as `--flag=value`."""
    options = parsed(*arguments)
    assert (options.repo, options.json, options.verbosity) == ("x", True, 3)


def test_lists_add_up_over_both_sides() -> None:
    """The second -o would make the first one disappear."""
    options = parsed("-o", "path.a=1", "version", "--option", "path.b=2", "--cacert", "a.pem,b.pem")
    assert options.option == ["path.a=1", "path.b=2"]
    assert options.cacert == ["a.pem", "b.pem"]


def test_limpets_variables_come_before_restics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who moves over from restic could not override what is set for restic."""
    monkeypatch.setenv("RESTIC_REPOSITORY", "old")
    monkeypatch.setenv("RESTIC_COMPRESSION", "max")
    assert (parsed("version").repo, parsed("version").compression) == ("old", "max")
    monkeypatch.setenv("LIMPET_REPOSITORY", "new")
    assert parsed("version").repo == "new"
    assert parsed("version", "-r", "flag", "--compression", "off").repo == "flag"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("RESTIC_PACK_SIZE", "big"), ("LIMPET_COMPRESSION", "strong"), ("RESTIC_PACK_SIZE", "-1")],
)
def test_nonsense_in_a_variable_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, run: Run, variable: str, value: str
) -> None:
    """A long backup would run with settings that nobody asked for."""
    monkeypatch.setenv(variable, value)
    ended = run("snapshots")
    assert ended.exit_code == 1
    assert ended.err.startswith(f'Fatal: invalid value for {variable} "{value}"')


def test_quiet_and_verbose_exclude_each_other() -> None:
    """Which of the two wins would depend on chance."""
    with pytest.raises(UsageError, match="cannot be specified at the same time"):
        _ = GlobalOptions(quiet=True, verbose=1).verbosity


@pytest.mark.parametrize("size", [1, 3, 129])
def test_pack_sizes_out_of_range_are_refused(size: int) -> None:
    """Packs that restic would never write could break its assumptions."""
    with pytest.raises(UsageError, match="between 4 and 128"):
        _ = GlobalOptions(pack_size=size).pack_size_bytes
    assert GlobalOptions(pack_size=64).pack_size_bytes == 64 << 20
    assert GlobalOptions().pack_size_bytes == 16 << 20


def test_values_that_look_like_flags_are_left_alone() -> None:
    """`--exclude -v=2` would lose its pattern."""
    command = click.Command("x", params=[click.Option(["--exclude"]), click.Option(["-v"], count=True)])
    assert normalise_flags(command, ["--exclude", "-v=2", "-v=2", "--", "-v=2"]) == [
        "--exclude",
        "-v=2",
        "-v",
        "-v",
        "--",
        "-v=2",
    ]


def test_a_missing_value_is_an_error(run: Run) -> None:
    """`limpet snapshots -r` would open a repository with an empty name."""
    ended = run("snapshots", "-r")
    assert ended.exit_code == 1
    assert "requires an argument" in ended.err


def test_repository_named_twice(run: Run, tmp_path: Path) -> None:
    """The wrong one of two repositories would be used."""
    file = tmp_path / "where"
    file.write_text("/nowhere\n")
    ended = run("-r", "x", "--repository-file", file, "snapshots")
    assert (ended.exit_code, "mutually exclusive" in ended.err) == (1, True)
    ended = run("--repository-file", file, "snapshots", "--insecure-no-password")
    assert ended.exit_code == 10
    assert "\n/nowhere" in ended.err


def test_transport_flags_reach_the_backends_that_know_them() -> None:
    """--cacert would be ignored by a backend that speaks TLS, or refused by one that does not."""
    options = parsed(
        "--cacert",
        "a.pem,b.pem",
        "--insecure-tls",
        "--stuck-request-timeout",
        "2m",
        "-o",
        "path.insecure_tls=no",
        "version",
    )
    assert options.for_backend("path", {"cacert", "insecure_tls", "stuck_request_timeout", "http_user_agent"}) == {
        "path.cacert": "a.pem,b.pem",
        "path.insecure_tls": "no",
        "path.stuck_request_timeout": "120s",
    }
    assert options.for_backend("path", {"layout"}) == {"path.insecure_tls": "no"}

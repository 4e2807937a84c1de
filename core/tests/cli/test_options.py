"""Global options: anywhere on the command line, in restic's notation, with defaults from the environment."""

from __future__ import annotations

import os
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

PASSWORD = "geheim-5f3a"
"""That of `repository_path`."""


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


def test_a_flag_overrules_nonsense_in_its_variable(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """A wrapper that passes the right value as a flag would be stopped by what somebody left in the environment."""
    monkeypatch.setenv("RESTIC_PACK_SIZE", "big")
    assert run("--pack-size", "8", "version").exit_code == 0
    ended = run("version")
    assert (ended.exit_code, "RESTIC_PACK_SIZE" in ended.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["-q", "-v"], "--quiet and --verbose cannot be specified at the same time"),
        (["--pack-size", "3"], "between 4 and 128"),
        (["-o", "nobody.there=1"], "no plugin is called 'nobody'"),
        (["-o", "=x"], "not of the form"),
        (["--retry-lock", "5"], "invalid duration"),
        (["--compression", "strong"], "'strong' is not one of"),
        (["--limit-upload", "fast"], "not a valid integer"),
    ],
)
def test_nonsense_is_an_error_of_every_command(run: Run, arguments: list[str], error: str) -> None:
    """Where only some commands look at a flag a typing mistake shows months later, in the one that mattered."""
    ended = run(*arguments, "version")
    assert ended.exit_code == 1
    assert error in ended.err
    assert len(ended.err.splitlines()) == 1


def test_several_options_in_one_argument() -> None:
    """restic splits -o at commas; the comma in a hook's command line is no border all the same."""
    options = parsed("-o", "local.connections=2,shell.before=echo a,b", "version")
    assert options.option == ["local.connections=2", "shell.before=echo a,b"]


def test_hooks_are_named_anywhere() -> None:
    """A hook that watches every command could only be named for one of them."""
    assert parsed("--hook", "shell", "version", "--hook", "shell").hook == ["shell", "shell"]


def test_negative_rates_are_no_limit(run: Run, repository_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """restic takes -1 for no limit, and so do the scripts that were written for it."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    ended = run("-r", repository_path, "--limit-upload", "-1", "--limit-download=-1", "snapshots")
    assert ended.exit_code == 0, ended.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--cacert", "missing.pem"], "unable to read root certificate: 'missing.pem': No such file"),
        (["--cacert", "a.pem,"], "empty filename"),
        (["--cacert", os.devnull], "cannot parse root certificate"),
        (["--tls-client-cert", "missing.pem"], "unable to read TLS client certificate"),
        (["--tls-client-cert", os.devnull], "must hold a certificate and its private key"),
        (["--stuck-request-timeout=-1s"], "must not be negative"),
    ],
)
def test_certificates_that_cannot_be_used(run: Run, repository_path: Path, arguments: list[str], error: str) -> None:
    """A backup would go to a server that nobody has authenticated."""
    ended = run("-r", repository_path, "--insecure-no-password", *arguments, "snapshots")
    assert ended.exit_code == 1
    assert error in ended.err


@pytest.mark.parametrize(
    ("text", "code", "error"),
    [
        ("s3-restore,backend-error-redesign=false", 0, ""),
        ("safe-forget-keep-tags=false", 0, 'feature flag "safe-forget-keep-tags" is always enabled'),
        ("time-travel", 1, 'unknown feature flag "time-travel"'),
        ("s3-restore=perhaps", 1, 'failed to parse value "perhaps"'),
    ],
)
def test_features(run: Run, monkeypatch: pytest.MonkeyPatch, text: str, code: int, error: str) -> None:
    """Who misspells a feature must not believe it to be on."""
    monkeypatch.setenv("RESTIC_FEATURES", text)
    ended = run("version")
    assert ended.exit_code == code
    assert ended.err.startswith(error or "") or ended.err.startswith(f"Fatal: {error}")
    assert bool(ended.err) == bool(error)

"""Secrets of a configuration: by reference only, never shown, never on a command line, and yet where they belong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Run

PASSWORD = "geheim-5f3a"
SECRET = "streng-7c1e"


@pytest.fixture
def config(tmp_path: Path, repository_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose profile works once it has a password, and something to back up."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    file = tmp_path / "limpet.toml"
    file.write_text(f'[profiles.home]\nrepositories = ["{repository_path}"]\nsources = ["work"]\n')
    return file


def add(config: Path, text: str) -> None:
    """Add lines to the profile."""
    with config.open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    "line",
    [
        f'password = "{SECRET}"',
        f'password = "{SECRET}${{HOME}}"',
        f'password = "${{NONE:-{SECRET}}}"',
        f'password = ["{SECRET}"]',
        f'password = {{ literal = "{SECRET}" }}',
        f'options.rest.password = "{SECRET}"',
        f'options."s3.secret-access-key" = "{SECRET}"',
        f'environment.AWS_SECRET_ACCESS_KEY = "{SECRET}"',
        f'environment = {{ PGPASSWORD = "{SECRET}" }}',
        f'extend-repositories = ["rest:https://backup:{SECRET}@host/"]',
        f'extend-sources = ["postgres://app:{SECRET}@host/shop"]',
    ],
)
def test_a_secret_that_is_written_out_is_refused(run: Run, config: Path, line: str) -> None:
    """Files of configurations are copied, shown and versioned: what is secret in them is secret no more."""
    add(config, line)
    for command in (["run", "home"], ["profile", "check"], ["profile", "show", "home"], ["profile", "list"]):
        ended = run(*command, "--config", config)
        assert SECRET not in ended.out + ended.err
        if command[1] != "list":
            assert ended.exit_code == 1
            assert f"{config}, line 4: " in ended.out + ended.err


def test_the_refusal_of_a_password_says_the_way_out(run: Run, config: Path) -> None:
    """Somebody who is only refused looks for a way around."""
    add(config, f'password = "{SECRET}"')
    assert 'password-file = "..."' in run("run", "home", "--config", config).err


@pytest.mark.parametrize("key", ["backup.description", "excludes", "extend-sources", "tag", "hooks.run"])
def test_a_secret_variable_stays_off_the_command_line(
    run: Run, config: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of processes is there for every user to read."""
    monkeypatch.setenv("SHOP_PASSWORD", SECRET)
    add(config, f'{key} = "${{SHOP_PASSWORD}}"')
    ended = run("run", "home", "--config", config)
    assert ended.exit_code == 1
    assert "line 4: profiles.home." in ended.err
    assert SECRET not in ended.err


@pytest.mark.parametrize(
    "password",
    [
        'password = "${BACKUP_WORD}"',
        'password = { env = "BACKUP_WORD" }',
        'password = { file = "secrets/word" }',
        'password-file = "secrets/word"',
        'password_file = "${FOLDER}/word"',
        "password = { command = \"sh -c 'cat secrets/word'\" }",
        "password-command = 'cat secrets/word'",
    ],
)
def test_every_reference_gives_the_password(
    run: Run, config: Path, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way that is documented and does not work is found in the night."""
    monkeypatch.setenv("BACKUP_WORD", PASSWORD)
    monkeypatch.setenv("FOLDER", "secrets")
    monkeypatch.setenv("RESTIC_PASSWORD_FILE", "/none")  # of another repository: the profile's counts
    (config.parent / "secrets").mkdir()
    (config.parent / "secrets" / "word").write_text(f"{PASSWORD}\n")
    add(config, password)
    assert run("profile", "check", "--config", config).exit_code == 0
    shown = run("profile", "show", "home", "--config", config, "--json")
    ended = run("run", "home", "--config", config)
    assert (ended.exit_code, ended.err) == (0, "")
    assert PASSWORD not in shown.out + ended.out


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ('password = "${BACKUP_WORD}"', "the environment has no variable BACKUP_WORD"),
        ('password = { file = "none" }', "cannot read none: No such file"),
        ('password-file = "none"', "cannot read none: No such file"),
        ('password-command = "none-such"', "there is no program none-such"),
        ('password-command = "sh \'x"', "is no command line"),
        ('password = { hook = "keyrnig" }', "'keyrnig' is no installed hook"),
        ('password-file = "a"\npassword-command = "b"', "password-file says already where the password comes from"),
        ('password = { env = "A", file = "b" }', "should have one key, of: env, file, command, hook"),
    ],
)
def test_references_that_lead_nowhere_are_found_by_check(run: Run, config: Path, password: str, said: str) -> None:
    """The first to notice would be the nightly run."""
    add(config, password)
    ended = run("profile", "check", "--config", config)
    assert ended.exit_code == 1
    assert said in ended.out


def test_secrets_reach_the_command_by_its_environment_alone(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`ps` would show the password of the server, and of the repository, to everybody on the machine."""
    monkeypatch.setenv("BACKUP_WORD", PASSWORD)
    monkeypatch.setenv("OTHER_TOKEN", SECRET)
    (tmp_path / "key").write_text(SECRET)
    add(
        config,
        f"""
password = "${{BACKUP_WORD}}"
environment = {{ AWS_SECRET_ACCESS_KEY = {{ file = "key" }}, PLAIN = "${{HOME}}", HIDDEN = "x${{OTHER_TOKEN}}" }}
hooks.backup = ["shell"]
options.s3.secret-access-key = {{ command = "cat key" }}
options.s3.region = "eu"
options.shell.before = '''
tr '\\0' '\\n' < /proc/$PPID/cmdline > {tmp_path}/argv
tr '\\0' '\\n' < /proc/$PPID/environ > {tmp_path}/environ'''
""",
    )
    ended = run("run", "home", "--config", config)
    assert (ended.exit_code, ended.err) == (0, "")
    argv, environ = (tmp_path / "argv").read_text(), (tmp_path / "environ").read_text().splitlines()
    assert "s3.region=eu" in argv
    assert SECRET not in argv + ended.out
    assert PASSWORD not in argv + ended.out
    assert f"LIMPET_PASSWORD={PASSWORD}" in environ
    assert f"AWS_SECRET_ACCESS_KEY={SECRET}" in environ
    assert f"HIDDEN=x{SECRET}" in environ
    secret_options = next(line for line in environ if line.startswith("LIMPET_SECRET_OPTIONS="))
    assert json.loads(secret_options.partition("=")[2]) == {"s3.secret-access-key": SECRET}
    shown = run("profile", "show", "home", "--config", config)
    assert shown.exit_code == 0
    assert SECRET not in shown.out
    assert "s3.secret-access-key=*** (command cat key)" in shown.out
    assert "HIDDEN='x${OTHER_TOKEN}'" in shown.out


@pytest.mark.parametrize("text", ["{", "[1]", '{"s3.region": 1}', f'"{SECRET}"'])
def test_secret_options_that_are_none(run: Run, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passed over, the command would go on without its key; shown, everybody would have it."""
    monkeypatch.setenv("LIMPET_SECRET_OPTIONS", text)
    ended = run("snapshots", "-r", "/none")
    assert ended.exit_code == 1
    assert ended.err.startswith("Fatal: LIMPET_SECRET_OPTIONS is no JSON")
    assert SECRET not in ended.err


def test_options_on_the_command_line_come_before_secret_ones(
    run: Run, repository_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed is meant."""
    monkeypatch.setenv("LIMPET_PASSWORD", PASSWORD)
    monkeypatch.setenv("LIMPET_SECRET_OPTIONS", '{"local.connections": "nonsense"}')
    assert "nonsense" in run("-r", repository_path, "snapshots").err
    assert run("-r", repository_path, "-o", "local.connections=2", "snapshots").exit_code == 0

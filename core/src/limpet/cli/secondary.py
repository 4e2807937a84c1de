"""The options that name a second repository to read from: --from-repo and its kin, as restic has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from limpet.cli.environment import environment
from limpet.cli.session import Session, without_password
from limpet.errors import UsageError

if TYPE_CHECKING:
    from limpet.repository.repository import Repository

Command = TypeVar("Command", bound=Callable[..., object])

_DECLARATIONS = (
    ("from_repo", "repository", "source repository", "FROM_REPOSITORY"),
    ("from_repository_file", "file", "file from which to read the source repository location", "FROM_REPOSITORY_FILE"),
    ("from_password_file", "file", "file to read the source repository password from", "FROM_PASSWORD_FILE"),
    ("from_key_hint", "key", "key ID of key to try decrypting the source repository first", "FROM_KEY_HINT"),
    (
        "from_password_command",
        "command",
        "shell command to obtain the source repository password from",
        "FROM_PASSWORD_COMMAND",
    ),
)


@dataclass(frozen=True, slots=True)
class SecondaryOptions:
    """What names the second repository and its password."""

    repo: str | None
    repository_file: str | None
    password_file: str | None
    key_hint: str | None
    password_command: str | None
    insecure_no_password: bool
    is_legacy: bool = False
    """Named by --repo2 and its kin, the forerunners of --from-repo: for `copy` it is the target, not the source."""

    @property
    def is_given(self) -> bool:
        """Whether a second repository is named."""
        return bool(self.repo or self.repository_file)

    def open(self, session: Session) -> Repository:
        """The second repository; UsageError if it is not named, or named twice."""
        if not self.is_given:
            raise UsageError("Please specify a source repository location (--from-repo or --from-repository-file)")
        if self.repo and self.repository_file:
            repo, file = (
                ("--repo2", "--repository-file2") if self.is_legacy else ("--from-repo", "--from-repository-file")
            )
            raise UsageError(f"Options {repo} and {file} are mutually exclusive, please specify only one")
        for name, value, way_out in (
            ("repo2", self.repo, "use --repo or --from-repo instead"),
            ("repository-file2", self.repository_file, "use --repository-file or --from-repository-file instead"),
        ):
            if self.is_legacy and value:
                session.reporter.warning(f"Flag --{name} has been deprecated, {way_out}")
        options = without_password(
            session.options,
            repo=self.repo,
            repository_file=self.repository_file,
            password_file=self.password_file,
            key_hint=self.key_hint,
            password_command=self.password_command,
            insecure_no_password=self.insecure_no_password,
        )
        return session.secondary_repository(options, "PASSWORD2" if self.is_legacy else "FROM_PASSWORD")


def secondary_options(purpose: str) -> Callable[[Command], Command]:
    """A decorator that adds the options; `take_secondary` collects them from the command's arguments."""

    def decorate(command: Command) -> Command:
        click.option(
            "--from-insecure-no-password",
            is_flag=True,
            help="use an empty password for the source repository (insecure)",
        )(command)
        for name, metavar, text, variable in reversed(_DECLARATIONS):
            click.option(
                f"--{name.replace('_', '-')}",
                metavar=metavar,
                help=f"{text} {purpose} (default: $LIMPET_{variable} or $RESTIC_{variable})",
            )(command)
            click.option(_legacy_flag(name), metavar=metavar, hidden=True)(command)
        return command

    return decorate


def take_secondary(arguments: dict[str, Any]) -> SecondaryOptions:
    """The second repository's options, taken out of the command's arguments, with the environment's defaults.

    UsageError where it is named in today's way and in that of restic before 0.14 at once.
    """
    values: dict[str, Any] = {}
    legacy: dict[str, Any] = {}
    for name, _, _, variable in _DECLARATIONS:
        field = name.removeprefix("from_")
        values[field] = arguments.pop(name) or environment(variable)
        flag = _legacy_flag(name).removeprefix("--").replace("-", "_")
        legacy[field] = arguments.pop(flag) or environment(f"{variable.removeprefix('FROM_')}2")
    insecure_no_password = arguments.pop("from_insecure_no_password")
    if not any(legacy.values()):
        return SecondaryOptions(insecure_no_password=insecure_no_password, **values)
    if any(values.values()) or insecure_no_password:
        raise UsageError("Option groups repo2 and from-repo are mutually exclusive, please specify only one")
    return SecondaryOptions(insecure_no_password=False, is_legacy=True, **legacy)


def _legacy_flag(name: str) -> str:
    """The flag's name before restic 0.14: `--repo2` for `from_repo`."""
    return f"--{name.removeprefix('from_').replace('_', '-')}2"

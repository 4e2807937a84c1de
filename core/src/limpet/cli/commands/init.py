"""`limpet init`: a new, empty repository."""

from __future__ import annotations

from typing import Any

import click

from limpet import registry
from limpet.cli.password import ask_new_password, given_password, wanted_password
from limpet.cli.secondary import SecondaryOptions, secondary_options, take_secondary
from limpet.cli.session import Session, pass_session
from limpet.errors import LimpetError, UsageError
from limpet.repository.repository import LATEST_VERSION, VERSIONS, Repository

STABLE_VERSION = 2


@click.command("init")
@secondary_options("to copy chunker parameters from")
@click.option(
    "--copy-chunker-params",
    is_flag=True,
    help="copy chunker parameters from the secondary repository (useful with the copy command)",
)
@click.option(
    "--repository-version",
    default="stable",
    metavar="version",
    help="repository format version to use, allowed values are a format version, 'latest' and 'stable'",
)
@pass_session
def command(session: Session, /, *, copy_chunker_params: bool, repository_version: str, **secondary: Any) -> None:
    """Initialize a new repository."""
    version = parse_version(repository_version)
    polynomial = _polynomial(session, take_secondary(secondary), wanted=copy_chunker_params)
    if version not in VERSIONS:
        raise UsageError(f"only repository versions between {min(VERSIONS)} and {max(VERSIONS)} are allowed")
    location = registry.redact(session.location())
    given = given_password(session.options)
    backend = session.backend()
    given = given or session.password_of_hook(backend)
    password = wanted_password(
        session.options, given, lambda: ask_new_password(session.terminal, "enter password for new repository: ")
    )
    try:
        repository = Repository.create(
            backend, password, version=version, polynomial=polynomial, settings=session.settings(use_cache=False)
        )
    except LimpetError as error:
        raise error.saying(f"create repository at {location} failed: {error}") from error
    _tell(session, repository, location, is_copy=polynomial is not None)


def parse_version(text: str) -> int:
    """The format version that the word or number names; UsageError for anything else."""
    if text in {"latest", ""}:
        return LATEST_VERSION
    if text == "stable":
        return STABLE_VERSION
    if not text.isascii() or not text.isdigit():
        raise UsageError(f"invalid repository version {text!r}: give a number, 'latest' or 'stable'")
    return int(text)


def _polynomial(session: Session, secondary: SecondaryOptions, *, wanted: bool) -> int | None:
    """The chunker's polynomial of the second repository, if it is to be copied."""
    if wanted:
        return secondary.open(session).config.chunker_polynomial
    if secondary.is_given:
        raise UsageError("Secondary repository must only be specified when copying the chunker parameters")
    return None


def _tell(session: Session, repository: Repository, location: str, *, is_copy: bool) -> None:
    if session.json:
        session.print_json({"message_type": "initialized", "id": repository.config.id, "repository": location})
        return
    session.say(f"created restic repository {repository.config.id[:10]} at {location}")
    if is_copy:
        session.say(" with chunker parameters copied from secondary repository")
    session.say("")
    session.say("Please note that knowledge of your password is required to access")
    session.say("the repository. Losing your password means that your data is")
    session.say("irrecoverably lost.")

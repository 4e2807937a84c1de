"""Whose requests these are: keys from options and the environment, from Amazon's files, or from a role taken on."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from limpet.errors import BackendError, UsageError

EARLY = timedelta(minutes=5)
"""So long before they expire credentials are fetched anew."""
PAUSE = timedelta(seconds=30)
"""Between two tries to get others while those held still last."""
PROCESS_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key and its secret; temporary ones with a session token and an end."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires: datetime | None = None


Source = Callable[[], Credentials]


class Keyring:
    """The credentials of a backend, fetched when first wanted and anew before they expire. Thread-safe."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._held: Credentials | None = None
        self._asked_in_vain: datetime | None = None

    def current(self) -> Credentials:
        """Credentials that are good for some minutes; BackendError where there are none to be had."""
        held = self._held
        if held is not None and self._will_do(held, datetime.now(UTC)):
            return held
        with self._lock:
            if self._held is held:
                self._held = self._fetched(held)
            assert self._held is not None
            return self._held

    def _will_do(self, held: Credentials, now: datetime) -> bool:
        """Whether it is too early to ask for others, or just was too early."""
        if held.expires is None or held.expires - now > EARLY:
            return True
        return self._asked_in_vain is not None and now < min(self._asked_in_vain + PAUSE, held.expires)

    def _fetched(self, held: Credentials | None) -> Credentials:
        """New ones; those held as long as they last where there are none to be had for now."""
        try:
            fetched = self._source()
        except BackendError:
            now = datetime.now(UTC)
            if held is None or held.expires is None or held.expires <= now:
                raise
            self._asked_in_vain = now
            return held
        self._asked_in_vain = None
        return fetched

    def refused(self, credentials: Credentials) -> bool:
        """Whether it is worth trying again with others: those that the server calls expired were temporary."""
        with self._lock:
            if self._held is credentials and credentials.expires is not None:
                self._held = None
                return True
            return self._held is not credentials


def find_credentials(
    access_key: str | None, secret_key: str | None, session_token: str | None, profile: str | None
) -> Source | None:
    """The first that there is, in restic's order: keys given, MinIO's variables, the files of Amazon's tools; or None.

    UsageError for half a pair, a profile that is named and not there, and files that cannot be read.
    """
    environ = os.environ
    access_key = access_key or environ.get("AWS_ACCESS_KEY")
    secret_key = secret_key or environ.get("AWS_SECRET_KEY")
    if bool(access_key) != bool(secret_key):
        given, missing = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")[:: 1 if access_key else -1]
        raise UsageError(f"s3: no credentials found: ${given} is set but ${missing} is empty")
    if access_key and secret_key:
        return _fixed(Credentials(access_key, secret_key, session_token))
    for user, password in (("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"), ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY")):
        if environ.get(user) and environ.get(password):
            return _fixed(Credentials(environ[user], environ[password]))
    return Profiles.read().source(profile)


def _fixed(credentials: Credentials) -> Source:
    return lambda: credentials


@dataclass(frozen=True, slots=True)
class Profiles:
    """The sections of `~/.aws/credentials` and `~/.aws/config`, the first before the second. Secrets: not shown."""

    sections: Mapping[str, Mapping[str, str]] = field(repr=False)
    files: str

    @classmethod
    def read(cls) -> Profiles:
        """What the two files hold, or those that AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name instead."""
        folder = Path("~/.aws").expanduser()
        credentials = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials")
        config = Path(os.environ.get("AWS_CONFIG_FILE") or folder / "config")
        sections: dict[str, dict[str, str]] = {}
        for path in (config, credentials):
            for name, values in _sections(path.expanduser()).items():
                sections.setdefault(name.removeprefix("profile ").strip(), {}).update(values)
        return cls(sections, f"{credentials} and {config}")

    def region(self, profile: str | None) -> str | None:
        return self.sections.get(profile or "default", {}).get("region")

    def source(self, profile: str | None) -> Source | None:
        """How to get the credentials of the profile; None for `default` (without a name) where that gives none."""
        name = profile or "default"
        section = self.sections.get(name)
        if section is None:
            if profile:
                raise UsageError(f"s3: there is no profile {profile!r} in {self.files}")
            return None
        if section.get("aws_access_key_id") and section.get("aws_secret_access_key"):
            return _fixed(
                Credentials(
                    section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token")
                )
            )
        if command := section.get("credential_process"):
            return lambda: _from_process(command, name)
        if profile:
            raise UsageError(
                f"s3: the profile {profile!r} in {self.files} has neither keys nor a credential_process; for another"
                f" way of signing in write `credential_process = aws configure export-credentials --profile {profile}`"
            )
        return None


def _sections(path: Path) -> dict[str, dict[str, str]]:
    # A secret may hold a percent sign, and Amazon's own tools take a value that is there twice.
    parser = configparser.ConfigParser(interpolation=None, strict=False, default_section="\0")
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"s3: cannot read {path}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError):
        # Its message would show the line, which may hold a secret.
        raise UsageError(f"s3: {path} is no file of sections with NAME = VALUE in them") from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _from_process(command: str, profile: str) -> Credentials:
    what = f"s3: the credential_process of the profile {profile!r}"
    try:
        done = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=PROCESS_LIMIT_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"{what} cannot be run: {type(error).__name__}", permanent=True) from error
    if done.returncode != 0:
        raise BackendError(f"{what} ended with exit code {done.returncode}", permanent=True)
    try:
        answer = json.loads(done.stdout)
        return Credentials(
            answer["AccessKeyId"],
            answer["SecretAccessKey"],
            answer.get("SessionToken"),
            parse_expiry(answer.get("Expiration")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BackendError(f"{what} did not answer with credentials as JSON", permanent=True) from None


def parse_expiry(text: str | None) -> datetime | None:
    """An ISO 8601 time, UTC where it names no zone; ValueError for anything else."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

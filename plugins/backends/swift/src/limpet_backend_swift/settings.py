"""What the backend can be told: its options, restic's environment variables, and how to sign in with them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from limpet.contracts.options import Option, Options
from limpet.errors import UsageError

DEFAULT_CONNECTIONS = 5

OPTIONS: Sequence[Option] = (
    Option("connections", "how many requests run at once", type="integer", default=DEFAULT_CONNECTIONS),
    Option("auth-url", "where to sign in; also $ST_AUTH", environment="OS_AUTH_URL"),
    Option(
        "auth-version",
        "1, 2 or 3; else what the address says, else 1 for $ST_AUTH and 3 for the others",
        environment="OS_IDENTITY_API_VERSION",
    ),
    Option("user-name", "who signs in; also $ST_USER", environment="OS_USERNAME"),
    Option("user-id", "who signs in, by id (version 3)", environment="OS_USER_ID"),
    Option("password", "the password or key; also $ST_KEY", environment="OS_PASSWORD", secret=True),
    Option("user-domain", "the user's domain by name (version 3)", environment="OS_USER_DOMAIN_NAME"),
    Option("user-domain-id", "the user's domain by id (version 3)", environment="OS_USER_DOMAIN_ID"),
    Option("project", "the project or tenant by name; also $OS_TENANT_NAME", environment="OS_PROJECT_NAME"),
    Option("project-id", "the project or tenant by id; also $OS_TENANT_ID", environment="OS_PROJECT_ID"),
    Option("project-domain", "the project's domain by name; else the user's", environment="OS_PROJECT_DOMAIN_NAME"),
    Option("project-domain-id", "the project's domain by id; else the user's", environment="OS_PROJECT_DOMAIN_ID"),
    Option("trust-id", "the trust to act under (version 3)", environment="OS_TRUST_ID"),
    Option("region", "the region of the object store", environment="OS_REGION_NAME"),
    Option("application-credential-id", "an application credential by id", environment="OS_APPLICATION_CREDENTIAL_ID"),
    Option(
        "application-credential-name",
        "an application credential by name, with the user",
        environment="OS_APPLICATION_CREDENTIAL_NAME",
    ),
    Option(
        "application-credential-secret",
        "its secret",
        environment="OS_APPLICATION_CREDENTIAL_SECRET",
        secret=True,
    ),
    Option("storage-url", "the address of the account, instead of the catalog's", environment="OS_STORAGE_URL"),
    Option("auth-token", "a token that was got elsewhere", environment="OS_AUTH_TOKEN", secret=True),
    Option("container-policy", "the storage policy of a new container", environment="SWIFT_DEFAULT_CONTAINER_POLICY"),
)

_OTHER_VARIABLES: Mapping[str, str] = {
    "auth-url": "ST_AUTH",
    "user-name": "ST_USER",
    "password": "ST_KEY",
    "project": "OS_TENANT_NAME",
    "project-id": "OS_TENANT_ID",
}
"""Asked where neither the option nor its own variable is set, as restic does."""

_VERSION_IN_PATH = re.compile(r"/v?([123])(?:\.\d)?(?=/|$)")
_WAY_OUT = (
    "set $OS_AUTH_URL, $OS_USERNAME and $OS_PASSWORD, or $ST_AUTH, $ST_USER and $ST_KEY, or an application credential,"
    " or $OS_STORAGE_URL and $OS_AUTH_TOKEN"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to sign in; empty texts for what is not set."""

    auth_url: str
    version: int
    user_name: str
    user_id: str
    password: str = field(repr=False)
    user_domain: str
    user_domain_id: str
    project: str
    project_id: str
    project_domain: str
    project_domain_id: str
    trust_id: str
    region: str
    application_id: str
    application_name: str
    application_secret: str = field(repr=False)
    storage_url: str
    token: str = field(repr=False)

    @property
    def is_application(self) -> bool:
        """Whether an application credential signs in."""
        return bool(self.application_secret)


def read_credentials(options: Options, environ: Mapping[str, str] | None = None) -> Credentials:
    """What the options and the environment say; UsageError naming what is missing to sign in."""
    environ = os.environ if environ is None else environ

    def value(name: str) -> str:
        return str(options.get(name) or environ.get(_OTHER_VARIABLES.get(name, ""), "")).strip()

    by_st_auth = not options.get("auth-url") and bool(value("auth-url"))
    credentials = Credentials(
        auth_url=value("auth-url"),
        version=_version(value("auth-version"), value("auth-url"), by_st_auth),
        user_name=value("user-name"),
        user_id=value("user-id"),
        password=value("password"),
        user_domain=value("user-domain"),
        user_domain_id=value("user-domain-id"),
        project=value("project"),
        project_id=value("project-id"),
        project_domain=value("project-domain"),
        project_domain_id=value("project-domain-id"),
        trust_id=value("trust-id"),
        region=value("region"),
        application_id=value("application-credential-id"),
        application_name=value("application-credential-name"),
        application_secret=value("application-credential-secret"),
        storage_url=value("storage-url").rstrip("/"),
        token=value("auth-token"),
    )
    _check(credentials)
    return credentials


def read_connections(options: Options) -> int:
    """The number of connections; UsageError for less than one."""
    connections = options.get("connections")
    if connections is None:
        return DEFAULT_CONNECTIONS
    if not isinstance(connections, int) or connections < 1:
        raise UsageError(f"swift.connections must be a number from 1 on, not {connections!r}")
    return connections


def _version(given: str, auth_url: str, by_st_auth: bool) -> int:
    if given:
        number = given.removeprefix("v").partition(".")[0]
        if number not in {"1", "2", "3"}:
            raise UsageError(f"swift.auth-version (or $OS_IDENTITY_API_VERSION) must be 1, 2 or 3, not {given!r}")
        return int(number)
    in_path = _VERSION_IN_PATH.search(urlsplit(auth_url).path)
    if in_path:
        return int(in_path[1])
    return 1 if by_st_auth else 3


def _check(credentials: Credentials) -> None:
    for name, url in (("auth-url", credentials.auth_url), ("storage-url", credentials.storage_url)):
        if url and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise UsageError(f"swift.{name}: {url!r} is no address; it begins with https:// or http://")
    in_headers = {"auth-token": credentials.token}
    if credentials.version == 1:
        in_headers |= {"user-name": credentials.user_name, "password": credentials.password}
    for name, value in in_headers.items():
        if not value.isprintable():
            raise UsageError(f"swift.{name} (or its variable) has a line break or the like in it: copy it anew")
    if credentials.storage_url and credentials.token:
        return
    if not credentials.auth_url:
        raise UsageError(f"Swift does not know where and as whom to sign in: {_WAY_OUT}")
    if credentials.is_application:
        if credentials.version != 3:
            raise UsageError("application credentials need version 3 of the identity service: look at $OS_AUTH_URL")
        if not (credentials.application_id or credentials.application_name):
            raise UsageError("an application credential needs its id: set $OS_APPLICATION_CREDENTIAL_ID")
        return
    if credentials.application_id or credentials.application_name:
        raise UsageError("an application credential needs its secret: set $OS_APPLICATION_CREDENTIAL_SECRET")
    has_user = credentials.user_name or (credentials.user_id and credentials.version != 1)
    if not (has_user and credentials.password) and not (credentials.token and credentials.version == 3):
        raise UsageError(f"Swift does not know as whom to sign in at {credentials.auth_url}: {_WAY_OUT}")

"""Temporary credentials: of a role taken on at Amazon's token service, of a container, and of a machine at Amazon."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import urllib3
from limpet.contracts.transport import Transport
from limpet.errors import BackendError
from urllib3.exceptions import HTTPError

from limpet_backend_s3.credentials import Credentials, Source, parse_expiry
from limpet_backend_s3.place import DEFAULT_REGION
from limpet_backend_s3.signature import signed_headers

MACHINE_SERVICE = "http://169.254.169.254"
CONTAINER_SERVICE = "http://169.254.170.2"
MACHINE_LIMIT_S = 1.0
"""Only a machine at Amazon has that service, and it answers at once."""
SESSION_NAME = "limpet"


@dataclass(frozen=True, slots=True)
class Role:
    """What to ask the token service for."""

    arn: str
    region: str | None = None
    session_name: str = SESSION_NAME
    external_id: str | None = None
    policy: str | None = None
    endpoint: str | None = None

    @classmethod
    def of_restic(cls, region: str | None) -> Role | None:
        """The role that restic's variables name, if they do."""
        given = {name: os.environ.get(f"RESTIC_AWS_ASSUME_ROLE_{name}") or None for name in _VARIABLES}
        if not given["ARN"]:
            return None
        return cls(
            given["ARN"],
            given["REGION"] or region,
            given["SESSION_NAME"] or SESSION_NAME,
            given["EXTERNAL_ID"],
            given["POLICY"],
            given["STS_ENDPOINT"],
        )

    @property
    def url(self) -> str:
        if self.endpoint:
            return self.endpoint
        if not self.region:
            return "https://sts.amazonaws.com"
        return f"https://sts.{self.region}.amazonaws.com{'.cn' if self.region.startswith('cn-') else ''}"


_VARIABLES = ("ARN", "REGION", "SESSION_NAME", "EXTERNAL_ID", "POLICY", "STS_ENDPOINT")


def assume_role(role: Role, source: Source, transport: Transport) -> Source:
    """The credentials of the role, for whom `source` gives the right to take it on."""

    def fetch() -> Credentials:
        asked = {"RoleArn": role.arn, "RoleSessionName": role.session_name}
        asked |= {"ExternalId": role.external_id} if role.external_id else {}
        asked |= {"Policy": role.policy} if role.policy else {}
        return _from_token_service("AssumeRole", role, asked, source(), transport)

    return fetch


def ambient_source(region: str | None, transport: Transport) -> Source | None:
    """What the surroundings give without any key: a web identity, a container's role, a machine's role; or None."""
    environ = os.environ
    arn, token_file = environ.get("AWS_ROLE_ARN"), environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if arn and token_file:
        name = environ.get("AWS_ROLE_SESSION_NAME") or SESSION_NAME
        role = Role(arn, region, name, endpoint=environ.get("AWS_ENDPOINT_URL_STS"))
        return lambda: _by_web_identity(role, Path(token_file), transport)
    if relative := environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        return lambda: _of_container(f"{CONTAINER_SERVICE}{relative}")
    if whole := environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return lambda: _of_container(whole)
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    try:
        _of_machine()
    except BackendError:
        return None  # this is no machine at Amazon, or one without a role
    return _of_machine


def _by_web_identity(role: Role, token_file: Path, transport: Transport) -> Credentials:
    try:
        token = token_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(f"s3: cannot read the web identity in {token_file}", permanent=True) from error
    asked = {"RoleArn": role.arn, "RoleSessionName": role.session_name, "WebIdentityToken": token}
    return _from_token_service("AssumeRoleWithWebIdentity", role, asked, None, transport)


def _from_token_service(
    action: str, role: Role, asked: Mapping[str, str], credentials: Credentials | None, transport: Transport
) -> Credentials:
    body = urlencode({"Action": action, "Version": "2011-06-15", **asked}).encode()
    url = urlsplit(role.url)
    headers = {"host": url.netloc, "content-type": "application/x-www-form-urlencoded"}
    if credentials is not None:
        sha256, region, now = hashlib.sha256(body).hexdigest(), role.region or DEFAULT_REGION, datetime.now(UTC)
        headers = signed_headers(
            "POST", url.path or "/", "", headers, sha256, credentials=credentials, region=region, now=now, service="sts"
        )
    del headers["host"]
    context = transport.ssl_context() if url.scheme == "https" else None
    answer = _ask("POST", role.url, headers, body, urllib3.PoolManager(ssl_context=context, timeout=60.0))
    try:
        found = ElementTree.fromstring(answer).find(f".//{{*}}{action}Result/{{*}}Credentials")
        told = {item.tag.rpartition("}")[2]: (item.text or "").strip() for item in (() if found is None else found)}
        return _credentials(told, "SessionToken")
    except (ElementTree.ParseError, KeyError, ValueError):
        raise BackendError(f"s3: the answer of {url.netloc} holds no credentials", permanent=True) from None


def _of_container(url: str) -> Credentials:
    token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    if file := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        try:
            token = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BackendError(f"s3: cannot read the container's token in {file}", permanent=True) from error
    return _from_json(_ask("GET", url, {"authorization": token} if token else {}, None, _local_pool()), url)


def _of_machine() -> Credentials:
    """By the second version of the machine's service, which wants a token first."""
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", MACHINE_SERVICE).rstrip("/")
    pool = _local_pool()
    lifetime = {"x-aws-ec2-metadata-token-ttl-seconds": "300"}
    token = {"x-aws-ec2-metadata-token": _ask("PUT", f"{base}/latest/api/token", lifetime, None, pool).decode()}
    roles = f"{base}/latest/meta-data/iam/security-credentials/"
    names = _ask("GET", roles, token, None, pool).decode().split()
    if not names:
        raise BackendError("s3: this machine has no role", permanent=True)
    return _from_json(_ask("GET", roles + names[0], token, None, pool), base)


def _local_pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(timeout=MACHINE_LIMIT_S)


def _ask(method: str, url: str, headers: Mapping[str, str], body: bytes | None, pool: urllib3.PoolManager) -> bytes:
    host = urlsplit(url).netloc
    try:
        answer = pool.urlopen(method, url, body=body, headers=dict(headers), retries=False, redirect=False)
    except (HTTPError, OSError) as error:
        raise BackendError(f"s3: cannot get credentials: {host} does not answer") from error
    finally:
        pool.clear()
    if answer.status != 200:
        transient = answer.status in {429, 500, 502, 503, 504}
        raise BackendError(f"s3: cannot get credentials: {host} answered HTTP {answer.status}", permanent=not transient)
    return answer.data


def _from_json(body: bytes, place: str) -> Credentials:
    try:
        return _credentials(json.loads(body), "Token")
    except (ValueError, KeyError, TypeError):
        raise BackendError(f"s3: the answer of {place} holds no credentials", permanent=True) from None


def _credentials(told: Mapping[str, str], token: str) -> Credentials:
    return Credentials(told["AccessKeyId"], told["SecretAccessKey"], told.get(token), parse_expiry(told["Expiration"]))

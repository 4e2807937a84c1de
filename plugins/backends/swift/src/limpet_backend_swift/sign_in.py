"""Signing in: the address of the account and a token for it, renewed before and when it runs out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests
from keystoneauth1 import exceptions
from keystoneauth1.identity import base, v2, v3
from keystoneauth1.session import Session
from limpet.errors import BackendError

from limpet_backend_swift.errors import connection_error, host_of, status_error
from limpet_backend_swift.http import Http
from limpet_backend_swift.settings import Credentials

MARGIN_S = 60.0
"""A token is renewed so long before its end, or a tenth of its life if that is less: an upload takes its time."""
DEFAULT_DOMAIN = "default"


@dataclass(frozen=True, slots=True)
class Account:
    """Where requests go and what lets them in."""

    storage_url: str
    token: str = field(repr=False)
    renew_at_s: float | None = None
    """Seconds of `time.time`, which goes on while the machine sleeps; None where the server does not say."""

    @property
    def is_current(self) -> bool:
        """Whether the token still has a while to go."""
        return self.renew_at_s is None or time.time() < self.renew_at_s


class SignIn:
    """The account as of now; signs in at the first use. Thread-safe."""

    def __init__(self, credentials: Credentials, http: Http) -> None:
        self._credentials = credentials
        self._http = http
        self._lock = threading.Lock()
        self._account: Account | None = None
        if credentials.storage_url and credentials.token:
            self._account = Account(credentials.storage_url, credentials.token)

    def account(self) -> Account:
        """The account with a token that is not known to be over; errors as the contract has them."""
        account = self._account
        if account is not None and account.is_current:
            return account
        with self._lock:
            if self._account is None or not self._account.is_current:
                self._account = self._sign_in()
            return self._account

    def forget(self, refused: Account) -> bool:
        """Have the next `account` sign in anew, as this token was refused; False where that is not possible."""
        with self._lock:
            if self._account is refused and self._can_sign_in:
                self._account = None
            return self._account is not refused

    @property
    def _can_sign_in(self) -> bool:
        credentials = self._credentials
        return bool(credentials.auth_url and (credentials.password or credentials.is_application))

    def _sign_in(self) -> Account:
        host = host_of(self._credentials.auth_url)
        what = f"cannot sign in to Swift at {host}"
        session = self._http.session()
        try:
            if self._credentials.version == 1:
                return self._sign_in_v1(session, what, host)
            return self._sign_in_keystone(session, what)
        except requests.RequestException as error:
            raise connection_error(what, error, host) from error
        except exceptions.ClientException as error:
            raise _keystone_error(what, error, host, self._credentials) from error
        finally:
            session.close()

    def _sign_in_v1(self, session: requests.Session, what: str, host: str) -> Account:
        credentials = self._credentials
        answer = session.get(
            credentials.auth_url,
            headers={
                "X-Auth-User": credentials.user_name.encode(),
                "X-Auth-Key": credentials.password.encode(),
                "User-Agent": self._http.user_agent,
            },
            timeout=self._http.timeout_s,
            allow_redirects=False,
        )
        if not 200 <= answer.status_code < 300:
            raise status_error(what, answer.status_code, host)
        storage_url = credentials.storage_url or answer.headers.get("X-Storage-Url", "")
        token = answer.headers.get("X-Storage-Token") or answer.headers.get("X-Auth-Token")
        if not storage_url or not token:
            raise BackendError(
                f"{what}: its answer names no account and token, so {credentials.auth_url} is not where version 1 of"
                f" Swift's authentication is; look at the address",
                permanent=True,
            )
        lifetime = answer.headers.get("X-Auth-Token-Expires", "")
        return Account(storage_url.rstrip("/"), token, _renew_at(float(lifetime) if lifetime.isdigit() else None))

    def _sign_in_keystone(self, session: requests.Session, what: str) -> Account:
        credentials = self._credentials
        plugin = _PLUGINS[credentials.version](credentials)
        keystone = Session(auth=plugin, session=session, timeout=self._http.timeout_s)
        keystone.user_agent = self._http.user_agent
        access = plugin.get_access(keystone)
        try:
            storage_url = credentials.storage_url or keystone.get_endpoint(
                service_type="object-store", interface="public", region_name=credentials.region or None
            )
        except exceptions.CatalogException as error:
            raise _no_object_store(what, credentials) from error
        token = access.auth_token
        if not storage_url or not token:
            raise _no_object_store(what, credentials)
        lifetime = (access.expires - access.issued).total_seconds() if access.expires and access.issued else None
        return Account(str(storage_url).rstrip("/"), token, _renew_at(lifetime))


def _no_object_store(what: str, credentials: Credentials) -> BackendError:
    region = f" in the region {credentials.region!r}" if credentials.region else ""
    return BackendError(
        f"{what}: its catalog has no object store{region} for this user and project; set $OS_PROJECT_NAME"
        f" and $OS_REGION_NAME, or $OS_STORAGE_URL",
        permanent=True,
    )


def _renew_at(lifetime_s: float | None) -> float | None:
    """When to renew a token that was issued just now: only its length counts, clocks of servers may be wrong."""
    return None if lifetime_s is None else time.time() + lifetime_s - min(MARGIN_S, lifetime_s / 10)


def _v2(credentials: Credentials) -> base.BaseIdentityPlugin:
    who: dict[str, Any] = {"user_id": credentials.user_id} if credentials.user_id else {}
    if not who:
        who = {"username": credentials.user_name}
    scope: dict[str, Any] = {"tenant_name": credentials.project} if credentials.project else {}
    if credentials.project_id:
        scope = {"tenant_id": credentials.project_id}
    return v2.Password(_versioned(credentials.auth_url, "v2.0"), password=credentials.password, **who, **scope)


def _v3(credentials: Credentials) -> base.BaseIdentityPlugin:
    url = _versioned(credentials.auth_url, "v3")
    user: dict[str, Any] = _only_set(
        user_id=credentials.user_id,
        username="" if credentials.user_id else credentials.user_name,
        user_domain_id=credentials.user_domain_id,
        user_domain_name="" if credentials.user_domain_id else credentials.user_domain,
    )
    if "username" in user and not {"user_domain_id", "user_domain_name"} & set(user):
        user["user_domain_id"] = DEFAULT_DOMAIN
    if credentials.is_application:  # its project is its own
        if credentials.application_id:
            which: dict[str, Any] = {"application_credential_id": credentials.application_id}
        else:
            which = {"application_credential_name": credentials.application_name, **user}
        return v3.ApplicationCredential(url, application_credential_secret=credentials.application_secret, **which)
    scope = _v3_scope(credentials, user)
    if user and credentials.password:
        return v3.Password(url, password=credentials.password, **user, **scope)
    return v3.Token(url, credentials.token, **scope)


def _v3_scope(credentials: Credentials, user: dict[str, Any]) -> dict[str, Any]:
    if credentials.trust_id:
        return {"trust_id": credentials.trust_id}
    if credentials.project_id:
        return {"project_id": credentials.project_id}
    if not credentials.project:
        return {}
    domain = _only_set(
        project_domain_id=credentials.project_domain_id,
        project_domain_name="" if credentials.project_domain_id else credentials.project_domain,
    ) or _only_set(
        project_domain_id=user.get("user_domain_id", ""), project_domain_name=user.get("user_domain_name", "")
    )
    return {"project_name": credentials.project, **(domain or {"project_domain_id": DEFAULT_DOMAIN})}


_PLUGINS: dict[int, Callable[[Credentials], base.BaseIdentityPlugin]] = {2: _v2, 3: _v3}


def _versioned(url: str, version: str) -> str:
    """The address of this version of the identity service; most clouds name it without."""
    url = url.rstrip("/")
    return url if url.rpartition("/")[2].startswith(version[:2]) else f"{url}/{version}"


def _only_set(**values: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _keystone_error(what: str, error: exceptions.ClientException, host: str, credentials: Credentials) -> BackendError:
    status = getattr(error, "http_status", None)
    if isinstance(error, exceptions.HttpError) and status:
        if status == 404:
            missing = "no such application credential, or no " if credentials.is_application else "no "
            return BackendError(
                f"{what}: there is {missing}version {credentials.version} of the identity service at"
                f" {credentials.auth_url}; look at $OS_AUTH_URL",
                permanent=True,
            )
        return status_error(what, int(status), host)
    if isinstance(error, exceptions.ConnectionError):
        return connection_error(what, error, host)
    reason = " ".join(str(error).split())
    return BackendError(f"{what}: {type(error).__name__}: {reason}", permanent=True)

"""Signing in to a real Keystone, version 3, and to what is left of version 2: each kind of credentials."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from limpet.contracts.backend import CONFIG_HANDLE, FileKind
from limpet.errors import BackendError, UsageError
from limpet.registry.contained_backend import ContainedBackend
from limpet.registry.opening import open_backend
from limpet.testing.backend import save_all
from limpet_backend_swift import SwiftBackend

from tests.services.fixed_answer import FixedAnswer
from tests.services.keystone_server import KeystoneServer
from tests.services.swift_server import SwiftServer

CONTAINER = "signed-in"


@dataclass(frozen=True, slots=True)
class Cloud:
    """A Swift that takes the tokens of a Keystone."""

    keystone: KeystoneServer
    swift: SwiftServer


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud for the tests of this file, with one repository's key in it."""
    with (
        KeystoneServer(tmp_path_factory.mktemp("keystone")) as keystone,
        SwiftServer(tmp_path_factory.mktemp("swift"), keystone_url=keystone.url) as swift,
    ):
        keystone.add_object_store(swift.url)
        running = Cloud(keystone, swift)
        backend = opened(password(running))
        backend.create()
        save_all(backend, FileKind.KEY, [b"a key"])
        backend.close()
        yield running


def password(cloud: Cloud) -> dict[str, str]:
    """restic's variables for the administrator."""
    return {
        "OS_AUTH_URL": cloud.keystone.url,
        "OS_USERNAME": "admin",
        "OS_PASSWORD": cloud.keystone.password,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_NAME": "admin",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": cloud.keystone.region,
    }


def opened(environment: dict[str, str]) -> SwiftBackend:
    """The backend as the command line opens it in this environment, and no other."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("OS_", "ST_"))]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        backend = open_backend(f"swift:{CONTAINER}:/")
    assert isinstance(backend, ContainedBackend)
    assert isinstance(backend.inner, SwiftBackend)
    return backend.inner


def works(environment: dict[str, str]) -> None:
    """Assert that the repository's key is there."""
    backend = opened(environment)
    try:
        (info,) = backend.list(FileKind.KEY)
        assert info.size_bytes == len(b"a key")
    finally:
        backend.close()


def test_password_of_version_3(cloud: Cloud) -> None:
    """The usual way: what a cloud's openrc file sets."""
    works(password(cloud))


def test_address_without_version(cloud: Cloud) -> None:
    """Many clouds name their identity service without a version."""
    works({**password(cloud), "OS_AUTH_URL": cloud.keystone.url.removesuffix("/v3")})


def test_ids_instead_of_names(cloud: Cloud) -> None:
    """Names may change, so scripts use ids of user, domain and project."""
    _, said = cloud.keystone.sign_in()
    environment = password(cloud)
    for name in ("OS_USERNAME", "OS_USER_DOMAIN_NAME", "OS_PROJECT_NAME", "OS_PROJECT_DOMAIN_NAME"):
        del environment[name]
    works({**environment, "OS_USER_ID": said["user"]["id"], "OS_TENANT_ID": said["project"]["id"]})
    works({**environment, "OS_USER_ID": said["user"]["id"], "OS_PROJECT_ID": said["project"]["id"]})


def test_domains_by_id_and_by_default(cloud: Cloud) -> None:
    """The project's domain is the user's where it is not named; without any it is the default one."""
    environment = password(cloud)
    for name in ("OS_USER_DOMAIN_NAME", "OS_PROJECT_DOMAIN_NAME", "OS_PROJECT_NAME"):
        del environment[name]
    works({**environment, "OS_USER_DOMAIN_ID": "default", "OS_TENANT_NAME": "admin"})
    works({**environment, "OS_PROJECT_NAME": "admin"})
    works({**environment, "OS_PROJECT_NAME": "admin", "OS_PROJECT_DOMAIN_ID": "default"})


def test_application_credential(cloud: Cloud) -> None:
    """Who backs up need not know anybody's password: by id, and by name with the user."""
    token, said = cloud.keystone.sign_in()
    body = {"application_credential": {"name": "backup", "secret": "of the application"}}
    answer = requests.post(
        f"{cloud.keystone.url}/users/{said['user']['id']}/application_credentials",
        json=body,
        headers={"X-Auth-Token": token},
        timeout=60,
    )
    assert answer.ok, answer.text
    given = {"OS_AUTH_URL": cloud.keystone.url, "OS_APPLICATION_CREDENTIAL_SECRET": "of the application"}
    works({**given, "OS_APPLICATION_CREDENTIAL_ID": answer.json()["application_credential"]["id"]})
    works(
        {
            **given,
            "OS_APPLICATION_CREDENTIAL_NAME": "backup",
            "OS_USERNAME": "admin",
            "OS_USER_DOMAIN_NAME": "Default",
        }
    )
    wrong = opened({**given, "OS_APPLICATION_CREDENTIAL_ID": "0" * 32})
    with pytest.raises(BackendError, match="no such application credential") as caught:
        wrong.stat(CONFIG_HANDLE)
    assert caught.value.permanent
    assert "of the application" not in str(caught.value) + repr(wrong)
    made = answer.json()["application_credential"]["id"]
    wrong = opened({**given, "OS_APPLICATION_CREDENTIAL_ID": made, "OS_APPLICATION_CREDENTIAL_SECRET": "other"})
    with pytest.raises(BackendError, match="does not accept") as caught:
        wrong.stat(CONFIG_HANDLE)
    assert caught.value.permanent


def test_trust(cloud: Cloud) -> None:
    """A user who is trusted by another acts in the other's project."""
    _, said = cloud.keystone.sign_in()
    user = cloud.keystone.post("users", {"user": {"name": "trustee", "password": "trusted"}})["user"]
    (role,) = [role for role in said["roles"] if role["name"] == "admin"]
    trust = {
        "trustor_user_id": said["user"]["id"],
        "trustee_user_id": user["id"],
        "project_id": said["project"]["id"],
        "impersonation": True,
        "roles": [{"id": role["id"]}],
    }
    made = cloud.keystone.post("OS-TRUST/trusts", {"trust": trust})["trust"]
    given = {"OS_AUTH_URL": cloud.keystone.url, "OS_USERNAME": "trustee", "OS_PASSWORD": "trusted"}
    works({**given, "OS_USER_DOMAIN_ID": "default", "OS_TRUST_ID": made["id"]})


def test_token(cloud: Cloud) -> None:
    """`openstack token issue` is enough, with the address of the account or of the identity service."""
    token, said = cloud.keystone.sign_in()
    storage_url = f"{cloud.swift.url}/v1/AUTH_{said['project']['id']}"
    works({"OS_AUTH_TOKEN": token, "OS_STORAGE_URL": storage_url})
    works({"OS_AUTH_TOKEN": token, "OS_AUTH_URL": cloud.keystone.url, "OS_PROJECT_NAME": "admin"})


def test_token_that_was_taken_back(cloud: Cloud) -> None:
    """A token that ends in the middle of a run is replaced without anybody noticing."""
    token, said = cloud.keystone.sign_in()
    storage_url = f"{cloud.swift.url}/v1/AUTH_{said['project']['id']}"
    given = {**password(cloud), "OS_AUTH_TOKEN": token, "OS_STORAGE_URL": storage_url}
    backend = opened(given)
    assert len(list(backend.list(FileKind.KEY))) == 1
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    requests.delete(f"{cloud.keystone.url}/auth/tokens", headers=headers, timeout=60).raise_for_status()
    backend.close()
    works({**given, "OS_AUTH_TOKEN": token[:-8] + "AAAAAAAA"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"OS_PASSWORD": "wrong-password"}, "does not accept the user"),
        ({"OS_PROJECT_NAME": "none-such"}, "does not accept the user"),
        ({"OS_REGION_NAME": "Atlantis"}, "no object store in the region 'Atlantis'"),
        ({"OS_PROJECT_NAME": ""}, "no object store"),
        ({"OS_IDENTITY_API_VERSION": "2", "OS_AUTH_URL": "{}/v2.0"}, "no version 2 of the identity service"),
    ],
)
def test_what_cannot_work_is_told_at_once(cloud: Cloud, change: dict[str, str], reason: str) -> None:
    """A wrong variable is told in one line that names it or its meaning, and not tried again for minutes."""
    change = {name: text.format(cloud.keystone.url.removesuffix("/v3")) for name, text in change.items()}
    backend = opened({**password(cloud), **change})
    with pytest.raises(BackendError, match=reason) as caught:
        backend.stat(CONFIG_HANDLE)
    assert caught.value.permanent
    assert "\n" not in str(caught.value)
    assert "wrong-password" not in str(caught.value)
    backend.close()


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "OS_AUTH_URL"),
        ({"OS_AUTH_URL": "keystone:5000"}, "is no address"),
        ({"OS_AUTH_URL": "https://keystone/v3"}, "as whom to sign in"),
        ({"OS_AUTH_URL": "https://keystone/v3", "OS_APPLICATION_CREDENTIAL_ID": "x"}, "needs its secret"),
        ({"OS_AUTH_URL": "https://keystone/v3", "OS_APPLICATION_CREDENTIAL_SECRET": "x"}, "needs its id"),
        ({"OS_AUTH_URL": "https://k/v2.0", "OS_APPLICATION_CREDENTIAL_SECRET": "x"}, "need version 3"),
        ({"OS_AUTH_URL": "https://k", "OS_IDENTITY_API_VERSION": "4"}, "must be 1, 2 or 3"),
    ],
)
def test_incomplete_settings(environment: dict[str, str], reason: str) -> None:
    """What is missing is named before anything is asked of a server."""
    with pytest.raises(UsageError, match=reason):
        opened(environment)


@pytest.mark.parametrize(
    "location", ["", "container", "container:", "container/prefix", "container:prefix", "//", "////prefix", ":/x"]
)
def test_locations_that_are_none(location: str) -> None:
    """restic's form alone is a place: a slip of the pen makes no second repository elsewhere."""
    with pytest.raises(UsageError, match="CONTAINER:/PATH"):
        SwiftBackend.open(location, {"auth-url": "https://keystone/v3", "user-name": "u", "password": "p"})


@pytest.mark.parametrize("location", ["c:/../other", "c:/a/../../other/x", "c:/..", "..:/x", ".:/x"])
def test_locations_outside_of_the_container(location: str) -> None:
    """What leads out of the container would put a config over another repository's, and list no file of it."""
    with pytest.raises(UsageError, match="leads out of the container"):
        SwiftBackend.open(location, {"auth-url": "https://keystone/v3", "user-name": "u", "password": "p"})


def test_password_that_is_no_ascii() -> None:
    """Version 1 sends it in a header: as UTF-8, as restic does, and not as an error out of the depths."""
    server = FixedAnswer(b"", headers={"X-Storage-Url": "http://127.0.0.1:1/v1/AUTH_x", "X-Storage-Token": "any"})
    with server.running() as url:
        options = {"auth-url": f"{url}/v1.0", "user-name": "jürgen", "password": "fünf€"}
        backend = SwiftBackend.open("c:/", options)
        with pytest.raises(BackendError, match=r"no answer from 127\.0\.0\.1:1:"):  # it has signed in
            backend.stat(CONFIG_HANDLE)
        backend.close()
    ((_, _, sent),) = server.requests
    assert [sent[f"X-Auth-{name}"].encode("latin-1").decode() for name in ("User", "Key")] == ["jürgen", "fünf€"]


@pytest.mark.parametrize(
    "given",
    [
        {"ST_AUTH": "https://host/v1.0", "ST_USER": "user", "ST_KEY": "hidden\nsecret"},
        {"OS_STORAGE_URL": "https://host/v1/AUTH_x", "OS_AUTH_TOKEN": "hidden\r\nsecret"},
    ],
)
def test_secrets_that_no_header_can_hold(given: dict[str, str]) -> None:
    """A secret pasted with a line break is told at once, and neither shown nor tried for a quarter of an hour."""
    with pytest.raises(UsageError, match="has a line break") as caught:
        opened(given)
    assert "hidden" not in str(caught.value)


class IdentityV2(BaseHTTPRequestHandler):
    """The one request of version 2 that counts, as its documentation has it: no server that speaks it is left."""

    token = ""
    storage_url = ""
    asked: dict[str, Any]

    def do_POST(self) -> None:  # the base class finds it by this name
        """Give the token that a real Keystone has given, in the form of version 2."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked = {"path": self.path, **body["auth"]}
        good = body["auth"]["passwordCredentials"] == {"username": "admin", "password": "v2-password"}
        catalog = [
            {
                "type": "object-store",
                "name": "swift",
                "endpoints": [{"region": "RegionOne", "publicURL": self.storage_url}],
            }
        ]
        access = {
            "token": {"id": self.token, "issued_at": "2026-01-01T00:00:00.000000", "expires": "2036-01-01T00:00:00Z"},
            "serviceCatalog": catalog,
            "user": {"id": "u", "name": "admin", "roles": []},
        }
        answer = json.dumps({"access": access} if good else {"error": {"code": 401, "message": "no"}}).encode()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


def test_password_of_version_2(cloud: Cloud) -> None:
    """Old private clouds speak version 2. Keystone dropped it, so its protocol is spoken here by a stand-in."""
    token, said = cloud.keystone.sign_in()
    IdentityV2.token = token
    IdentityV2.storage_url = f"{cloud.swift.url}/v1/AUTH_{said['project']['id']}"
    server = ThreadingHTTPServer(("127.0.0.1", 0), IdentityV2)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        given = {
            "OS_AUTH_URL": f"http://127.0.0.1:{server.server_port}/v2.0",
            "OS_USERNAME": "admin",
            "OS_PASSWORD": "v2-password",
            "OS_TENANT_NAME": "admin",
            "OS_REGION_NAME": "RegionOne",
        }
        works(given)
        assert IdentityV2.asked["path"] == "/v2.0/tokens"
        assert IdentityV2.asked["tenantName"] == "admin"
        with pytest.raises(BackendError, match="does not accept the user"):
            opened({**given, "OS_PASSWORD": "wrong"}).stat(CONFIG_HANDLE)
    finally:
        server.shutdown()
        serving.join()
        server.server_close()

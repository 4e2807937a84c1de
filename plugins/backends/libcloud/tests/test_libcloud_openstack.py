"""libcloud's driver of OpenStack Swift, with the tokens of a real Keystone: a driver that is not of S3's family."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests
from limpet.contracts.backend import Backend, FileKind, Handle
from limpet.contracts.options import OptionValue
from limpet.testing.backend import MIB, BackendConformance
from limpet_backend_libcloud import LibcloudBackend

from tests.services.keystone_server import KeystoneServer
from tests.services.process import free_port
from tests.services.swift_server import SwiftServer


@dataclass(frozen=True, slots=True)
class Cloud:
    """A Swift that takes the tokens of a Keystone; the address of the administrator's account and a token for it."""

    keystone: KeystoneServer
    account_url: str
    token: str


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One for the tests of this file."""
    with (
        KeystoneServer(tmp_path_factory.mktemp("keystone")) as keystone,
        SwiftServer(tmp_path_factory.mktemp("swift") / "server", keystone_url=keystone.url) as swift,
    ):
        keystone.add_object_store(swift.url)
        token, said = keystone.sign_in()
        yield Cloud(keystone, f"{swift.url}/v1/AUTH_{said['project']['id']}", token)


class TestOpenStackSwift(BackendConformance):
    """Sign-in with Keystone, version 3, through `libcloud.extra`."""

    secrets = (KeystoneServer.password,)
    listed_files = 250
    largest_size_bytes = 20 * MIB

    @pytest.fixture
    def backend(self, cloud: Cloud) -> Iterator[Backend]:
        self.cloud = cloud
        self.container = f"c{uuid.uuid4().hex}"
        backend = self._open()
        backend.create()
        yield backend
        backend.close()

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        answer = requests.get(self._address(handle), headers=self._headers(), timeout=60)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.content

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        requests.put(self._address(handle), data=data, headers=self._headers(), timeout=60).raise_for_status()

    def open_again(self, backend: Backend) -> Backend:
        return self._open()

    def open_with_wrong_credentials(self, backend: Backend) -> Backend:
        return self._open(secret="not the password")

    def open_missing_store(self, backend: Backend) -> Backend:
        return self._open("nowhere")

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return self._open(extra=_sign_in(f"http://127.0.0.1:{free_port()}"))

    def _open(self, container: str | None = None, **more: OptionValue) -> LibcloudBackend:
        options: dict[str, OptionValue] = {
            "key": "admin",
            "secret": KeystoneServer.password,
            "connections": 2,  # each signs in for itself
            "extra": _sign_in(self.cloud.keystone.url.removesuffix("/v3")),
        }
        place = f"openstack_swift:{container or self.container}/some/prefix"
        return LibcloudBackend.open(place, {**options, **more})

    def _address(self, handle: Handle) -> str:
        folder = f"{self.cloud.account_url}/{self.container}/some/prefix"
        if handle.kind is FileKind.CONFIG:
            return f"{folder}/config"
        inner = f"{handle.kind.value}/{handle.name[:2]}" if handle.kind is FileKind.PACK else handle.kind.value
        return f"{folder}/{inner}/{handle.name}"

    def _headers(self) -> dict[str, str]:
        return {"X-Auth-Token": self.cloud.token}


def _sign_in(auth_url: str) -> str:
    return (
        f"ex_force_auth_url={auth_url},ex_force_auth_version=3.x_password,ex_tenant_name=admin,ex_domain_name=Default,"
        f"ex_force_service_region={KeystoneServer.region}"
    )

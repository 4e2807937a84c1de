"""The Swift backend against a real OpenStack Swift with its own sign-in, version 1."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from limpet.contracts.backend import CONFIG_HANDLE, Backend, FileKind, Handle
from limpet.contracts.options import OptionValue
from limpet.errors import BackendError, MissingFileError
from limpet.testing.backend import MIB, BackendConformance, content_of, handle_of, save_all, some_bytes
from limpet_backend_swift import SwiftBackend

from tests.services.process import free_port
from tests.services.swift_server import SwiftServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """A Swift for the tests of this file."""
    with SwiftServer(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture(scope="module")
def account(server: SwiftServer) -> requests.Session:
    """The back door: plain HTTP with a token of its own."""
    answer = requests.get(server.auth_url, headers={"X-Auth-User": server.user, "X-Auth-Key": server.key}, timeout=60)
    answer.raise_for_status()
    session = requests.Session()
    session.headers["X-Auth-Token"] = answer.headers["X-Auth-Token"]
    session.headers["X-Storage-Url"] = answer.headers["X-Storage-Url"]
    return session


def options_for(server: SwiftServer, **more: OptionValue) -> dict[str, OptionValue]:
    """What signs in to the server."""
    return {"auth-url": server.auth_url, "user-name": server.user, "password": server.key, **more}


def address(account: requests.Session, backend: Backend, handle: Handle) -> str:
    """Where restic keeps this file."""
    assert isinstance(backend, SwiftBackend)
    name = handle.kind.value
    if handle.kind is FileKind.PACK:
        name += f"/{handle.name[:2]}"
    if handle.kind is not FileKind.CONFIG:
        name += f"/{handle.name}"
    return f"{account.headers['X-Storage-Url']!s}/{backend.place.container}/{backend.place.prefix}/{name}"


class TestSwiftBackend(BackendConformance):
    """A container of a Swift with its four servers."""

    secrets = (SwiftServer.key,)

    @pytest.fixture(autouse=True)
    def _server(self, server: SwiftServer, account: requests.Session) -> None:
        self.server = server
        self.account = account

    @pytest.fixture
    def backend(self, server: SwiftServer) -> Iterator[Backend]:
        backend = SwiftBackend.open(f"c{uuid.uuid4().hex}:/backups/laptop", options_for(server))
        backend.create()
        yield backend
        backend.close()

    def back_door_read(self, backend: Backend, handle: Handle) -> bytes | None:
        answer = self.account.get(address(self.account, backend, handle), timeout=60)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.content

    def back_door_write(self, backend: Backend, handle: Handle, data: bytes) -> None:
        self.account.put(address(self.account, backend, handle), data=data, timeout=60).raise_for_status()

    def open_again(self, backend: Backend) -> Backend:
        return self._open(backend)

    def open_with_wrong_credentials(self, backend: Backend) -> Backend:
        return self._open(backend, password="not the key")

    def open_missing_store(self, backend: Backend) -> Backend:
        return SwiftBackend.open("nowhere:/backups/laptop", options_for(self.server))

    def open_where_nothing_listens(self, backend: Backend) -> Backend:
        return self._open(backend, **{"auth-url": f"http://127.0.0.1:{free_port()}/auth/v1.0"})

    def open_read_only(self, backend: Backend) -> Backend:
        assert isinstance(backend, SwiftBackend)
        container = f"{self.account.headers['X-Storage-Url']!s}/{backend.place.container}"
        readers = {"X-Container-Read": f"{self.server.reader},.rlistings"}
        self.account.post(container, headers=readers, timeout=60).raise_for_status()
        options = {"user-name": self.server.reader, "password": self.server.reader_key}
        return self._open(backend, **options, **{"storage-url": str(self.account.headers["X-Storage-Url"])})

    def _open(self, backend: Backend, **more: OptionValue) -> Backend:
        return SwiftBackend.open(backend.location.removeprefix("swift:"), options_for(self.server, **more))


@pytest.fixture
def backend(server: SwiftServer) -> Iterator[SwiftBackend]:
    """A repository's place of its own."""
    backend = SwiftBackend.open(f"c{uuid.uuid4().hex}:/", options_for(server))
    backend.create()
    yield backend
    backend.close()


def test_pages_of_a_listing(backend: SwiftBackend) -> None:
    """A listing goes on where the page before ended, or every file beyond the server's page is lost."""
    handles = save_all(backend, FileKind.PACK, [b"%d" % number for number in range(23)])
    backend.page_entries = 5
    assert sorted(info.name for info in backend.list(FileKind.PACK)) == sorted(handle.name for handle in handles)


def test_packs_in_another_folder_are_not_listed(backend: SwiftBackend, account: requests.Session) -> None:
    """What is listed must be found again under its name, or prune would wait for a pack that cannot be read."""
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    stray = address(account, backend, handle).replace(f"/data/{handle.name[:2]}/", "/data/zz/")
    account.put(stray, data=b"a pack", timeout=60).raise_for_status()
    assert len(list(backend.list(FileKind.PACK))) == 1


def test_a_token_that_is_over_is_renewed(server: SwiftServer, backend: SwiftBackend) -> None:
    """Tokens last an hour or a day, backups longer: a large upload is not lost to a token that just ended."""
    data = some_bytes(6 * MIB)
    storage_url = _storage_url(server)
    other = SwiftBackend.open(
        backend.location.removeprefix("swift:"),
        options_for(server, **{"storage-url": storage_url, "auth-token": "AUTH_tk0123456789abcdef"}),
    )
    other.save(handle_of(data), content_of(data))
    assert other.load(handle_of(data)) == data
    other.close()


def test_token_and_storage_url(server: SwiftServer, backend: SwiftBackend, account: requests.Session) -> None:
    """A token that was got elsewhere is enough, and when it is over the message says so at once."""
    (handle,) = save_all(backend, FileKind.KEY, [b"a key"])
    place = backend.location.removeprefix("swift:")
    token = str(account.headers["X-Auth-Token"])
    given = {"storage-url": _storage_url(server), "auth-token": token}
    good = SwiftBackend.open(place, given)
    assert good.load(handle) == b"a key"
    good.close()
    over = SwiftBackend.open(place, {**given, "auth-token": "AUTH_tk0123456789abcdef"})
    with pytest.raises(BackendError, match="does not accept the user, password or token") as caught:
        over.load(handle)
    assert caught.value.permanent
    assert "AUTH_tk" not in str(caught.value) + repr(over) + repr(caught.value)
    over.close()


def test_environment_of_version_1(server: SwiftServer, backend: SwiftBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts for restic sign in by ST_AUTH, ST_USER and ST_KEY."""
    (handle,) = save_all(backend, FileKind.KEY, [b"a key"])
    monkeypatch.setenv("ST_AUTH", server.auth_url)
    monkeypatch.setenv("ST_USER", server.user)
    monkeypatch.setenv("ST_KEY", server.key)
    other = SwiftBackend.open(backend.location.removeprefix("swift:"), {})
    assert other.load(handle) == b"a key"
    other.close()


def test_save_without_a_container(backend: SwiftBackend, account: requests.Session) -> None:
    """A container that somebody removed is told with the way out, and not waited for."""
    handle = handle_of(b"a pack")
    (container, _, _) = address(account, backend, handle).rpartition("//data")
    account.delete(container, timeout=60).raise_for_status()
    with pytest.raises(BackendError, match=r"no container .*init") as caught:
        backend.save(handle, content_of(b"a pack"))
    assert caught.value.permanent
    assert not isinstance(caught.value, MissingFileError)
    backend.create()


def test_wrong_address_of_the_sign_in(server: SwiftServer) -> None:
    """An address that is no sign-in is told by name, not as a repository that is missing."""
    backend = SwiftBackend.open("c:/", options_for(server, **{"auth-url": f"{server.url}/info", "auth-version": "1"}))
    with pytest.raises(BackendError, match="info is not where version 1") as caught:
        backend.stat(CONFIG_HANDLE)
    assert caught.value.permanent
    backend.close()


def test_connections_are_no_more_than_asked_for(server: SwiftServer, backend: SwiftBackend) -> None:
    """A backup must not use up the ports of its machine, and its end leaves no connection and no thread."""
    threads = threading.active_count()
    before = open_connections(server.port)
    other = SwiftBackend.open(backend.location.removeprefix("swift:"), options_for(server, connections=3))
    most = 0

    def work(number: int) -> None:
        nonlocal most
        data = b"%d" % number
        other.save(handle_of(data), content_of(data))
        assert other.load(handle_of(data)) == data
        with pytest.raises(MissingFileError):
            other.stat(handle_of(b"missing"))
        most = max(most, len(open_connections(server.port) - before))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(60)))
    assert 1 <= most <= 3
    other.close()
    assert not open_connections(server.port) - before
    assert threading.active_count() == threads


def open_connections(port: int) -> set[str]:
    """The ends of this process of its connections to the port."""
    own = {os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path)}
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2].endswith(f":{port:04X}") and f"socket:[{row[9]}]" in own}


def test_storage_policy(server: SwiftServer, account: requests.Session) -> None:
    """A container goes to the cheap disks that were asked for, or is not made at all."""
    container = f"c{uuid.uuid4().hex}"
    wrong = SwiftBackend.open(f"{container}:/", options_for(server, **{"container-policy": "no-such-policy"}))
    with pytest.raises(BackendError, match="cannot make the container") as caught:
        wrong.create()
    assert caught.value.permanent
    wrong.close()
    right = SwiftBackend.open(f"{container}:/", options_for(server, **{"container-policy": "Policy-0"}))
    right.create()
    right.create()
    answer = account.head(f"{account.headers['X-Storage-Url']!s}/{container}", timeout=60)
    assert answer.headers["X-Storage-Policy"] == "Policy-0"
    right.close()


@pytest.mark.parametrize(
    ("location", "config"),
    [
        ("c:/", "config"),
        ("c:/a", "a/config"),
        ("c:/a/b/", "a/b/config"),
        ("c:/a//b", "a/b/config"),
        ("c://a", "/a/config"),
    ],
)
def test_names_of_objects(server: SwiftServer, location: str, config: str) -> None:
    """A location means the same objects as it means to restic, or each would see an empty repository."""
    backend = SwiftBackend.open(location, options_for(server))
    assert backend.place.path(CONFIG_HANDLE) == config
    assert backend.location == f"swift:c:/{config.removesuffix('config').removesuffix('/')}"
    backend.close()


def _storage_url(server: SwiftServer) -> str:
    return f"{server.url}/v1/AUTH_test"

"""The Swift backend on a network that fails, on TLS, and on a server that refuses."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from limpet.contracts.backend import CONFIG_HANDLE, FileKind
from limpet.contracts.options import OptionValue
from limpet.contracts.transport import Transport
from limpet.errors import BackendError, StorageFullError, UsageError
from limpet.testing.backend import content_of, handle_of, save_all, some_bytes
from limpet.testing.certificates import identity
from limpet_backend_swift import SwiftBackend

from tests.services import fault_proxy
from tests.services.fault_proxy import FaultProxy, status
from tests.services.fixed_answer import FixedAnswer
from tests.services.swift_server import SwiftServer

SHORT = Transport(stuck_request_timeout_s=1.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftServer]:
    """A Swift for the tests of this file."""
    with SwiftServer(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture
def proxy(server: SwiftServer) -> Iterator[FaultProxy]:
    """The way to the account that fails when it is told to; signing in goes past it."""
    with FaultProxy(server.port) as running:
        yield running


@pytest.fixture
def backend(server: SwiftServer, proxy: FaultProxy) -> Iterator[SwiftBackend]:
    """A repository's place behind the proxy."""
    options = options_for(server, **{"storage-url": f"http://127.0.0.1:{proxy.port}/v1/AUTH_test"})
    backend = SwiftBackend.open(f"c{uuid.uuid4().hex}:/", options)
    backend.create()
    yield backend
    backend.close()


def options_for(server: SwiftServer, **more: OptionValue) -> dict[str, OptionValue]:
    """What signs in to the server."""
    return {"auth-url": server.auth_url, "user-name": server.user, "password": server.key, **more}


@pytest.mark.parametrize(
    ("code", "permanent", "reason"),
    [
        (400, True, "400 Bad Request"),
        (403, True, "may not do this"),
        (413, True, "quota"),
        (507, True, "no space left"),
        (302, True, "302 Found"),
        (408, False, "408"),
        (422, False, "damaged on its way"),
        (498, False, "asked too often"),
        (500, False, "500 Internal Server Error"),
        (503, False, "503 Service Unavailable"),
    ],
)
def test_statuses(backend: SwiftBackend, proxy: FaultProxy, code: int, permanent: bool, reason: str) -> None:
    """What waiting mends is tried again, all else is told at once and in words."""
    proxy.inject(status(code), times=1)
    with pytest.raises(BackendError, match=reason) as caught:
        backend.save(handle_of(b"x"), content_of(b"x"))
    assert caught.value.permanent is permanent
    assert isinstance(caught.value, StorageFullError) is (code == 507)
    assert "\n" not in str(caught.value)
    backend.save(handle_of(b"x"), content_of(b"x"))
    assert backend.load(handle_of(b"x")) == b"x"


def test_retry_after(backend: SwiftBackend, proxy: FaultProxy) -> None:
    """A server that says when it wants to be asked again is asked then."""
    proxy.inject(status(429, retry_after_s=7), times=1)
    with pytest.raises(BackendError) as caught:
        backend.stat(CONFIG_HANDLE)
    assert (caught.value.permanent, caught.value.retry_after_s) == (False, 7.0)


@pytest.mark.parametrize(
    "fault",
    [fault_proxy.RESET, fault_proxy.LOST_ANSWER, fault_proxy.CUT_BODY, fault_proxy.SHORT_BODY],
    ids=lambda fault: str(fault.kind.name),
)
def test_broken_answers_are_no_data(backend: SwiftBackend, proxy: FaultProxy, fault: fault_proxy.Fault) -> None:
    """A connection that breaks is tried again; half of a file is never taken for the file."""
    data = some_bytes(200_000)
    (handle,) = save_all(backend, FileKind.PACK, [data])
    for offset, length in ((0, None), (0, 200_000), (1_000, 150_000)):
        proxy.inject(fault, times=1)
        with pytest.raises(BackendError) as caught:
            backend.load(handle, offset, length)
        assert not caught.value.permanent
        proxy.heal()
        assert backend.load(handle, offset, length) == data[offset : None if length is None else offset + length]


def test_a_black_hole(server: SwiftServer, backend: SwiftBackend, proxy: FaultProxy) -> None:
    """A request that nobody answers is given up after the time that was asked for, and can be tried again."""
    (handle,) = save_all(backend, FileKind.PACK, [b"a pack"])
    options = {"storage-url": f"http://127.0.0.1:{proxy.port}/v1/AUTH_test", "auth-token": "any"}
    hasty = SwiftBackend.open(backend.location.removeprefix("swift:"), options, SHORT)
    proxy.inject(fault_proxy.BLACK_HOLE)
    calls: list[Callable[[], object]] = [
        lambda: hasty.load(handle),
        lambda: hasty.save(handle, content_of(b"a pack")),
        lambda: list(hasty.list(FileKind.PACK)),
    ]
    for call in calls:
        with pytest.raises(BackendError, match=r"no answer from 127\.0\.0\.1") as caught:
            call()
        assert not caught.value.permanent
    hasty.close()
    proxy.heal()
    assert backend.load(handle) == b"a pack"


def test_a_range_that_is_ignored(backend: SwiftBackend, proxy: FaultProxy) -> None:
    """A proxy that drops the range must not have the first bytes taken for those that were asked for."""
    data = some_bytes(5_000)
    (handle,) = save_all(backend, FileKind.PACK, [data])
    proxy.inject(fault_proxy.WHOLE_BODY, times=1)
    with pytest.raises(BackendError, match="ignores ranges"):
        backend.load(handle, 1_000, 100)
    assert backend.load(handle, 1_000, 100) == data[1_000:1_100]


@pytest.mark.parametrize("body", [b"<html>Please sign in</html>", b"{}", b"[1]", b'[{"name": "a'])
def test_a_listing_that_is_none(body: bytes) -> None:
    """What a portal on the way answers must not pass for an empty repository, nor end in an error of Python's."""
    with FixedAnswer(body).running() as url:
        backend = SwiftBackend.open("c:/", {"storage-url": f"{url}/v1/AUTH_test", "auth-token": "any"})
        with pytest.raises(BackendError, match="on the way answered") as caught:
            list(backend.list(FileKind.PACK))
        assert not caught.value.permanent
        backend.close()


def test_an_upload_that_breaks_is_no_file(backend: SwiftBackend, proxy: FaultProxy) -> None:
    """Half of a pack must never have the pack's name."""
    data = some_bytes(3_000_000)
    proxy.inject(fault_proxy.RESET, times=1)
    with pytest.raises(BackendError) as caught:
        backend.save(handle_of(data), content_of(data))
    assert not caught.value.permanent
    proxy.heal()
    assert list(backend.list(FileKind.PACK)) == []
    backend.save(handle_of(data), content_of(data))
    assert backend.load(handle_of(data)) == data


def test_a_sign_in_that_hangs(server: SwiftServer) -> None:
    """An identity service that never answers is given up too, after the time that was asked for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for path in ("auth/v1.0", "v2.0", "v3"):
            backend = SwiftBackend.open("c:/", options_for(server, **{"auth-url": f"{url}/{path}"}), SHORT)
            with pytest.raises(BackendError, match=r"sign in .*127\.0\.0\.1") as caught:
                backend.stat(CONFIG_HANDLE)
            assert not caught.value.permanent
            backend.close()


def test_tls(tmp_path: Path) -> None:
    """A server that does not prove who it is gets neither password nor data, unless somebody insists."""
    own = identity("swift")
    certificate = tmp_path / "server.pem"
    own.write(certificate)
    right, other = tmp_path / "right.pem", tmp_path / "other.pem"
    right.write_bytes(own.certificate)
    other.write_bytes(identity("other").certificate)
    with SwiftServer(tmp_path / "swift", certificate=certificate) as server:
        for roots in ((), (str(other),)):
            backend = SwiftBackend.open("c:/", options_for(server), Transport(root_certificates=roots))
            with pytest.raises(BackendError, match="did not prove who it is") as caught:
                backend.stat(CONFIG_HANDLE)
            assert caught.value.permanent
            backend.close()
        both = Transport(root_certificates=(str(other), str(right)), user_agent="a-backup/1")
        for transport in (both, Transport(verify_tls=False)):
            # The server names its account with http, as it does behind a proxy that speaks TLS for it.
            options = options_for(server, **{"storage-url": f"{server.url}/v1/AUTH_test"})
            backend = SwiftBackend.open("c:/", options, transport)
            backend.create()
            backend.save(handle_of(b"x"), content_of(b"x"))
            assert backend.load(handle_of(b"x")) == b"x"
            backend.close()
        said = server.log.read_text()
        assert " a-backup/1 " in said
        assert "limpet-backend-swift" in said
    with pytest.raises(UsageError, match="unable to read root certificate"):
        SwiftBackend.open("c:/", options_for(server), Transport(root_certificates=(str(tmp_path / "none.pem"),)))

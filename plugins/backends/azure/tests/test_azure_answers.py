"""What something in the place of Azure, or between, may answer: none of it is taken for the repository's."""

from __future__ import annotations

import time

import pytest
from limpet.contracts.backend import FileKind
from limpet.contracts.transport import DEFAULT_TRANSPORT, Transport
from limpet.errors import BackendError, UsageError
from limpet.testing.backend import handle_of, save_all, some_bytes
from limpet_backend_azure import AzureBackend
from limpet_backend_azure.account import Account
from limpet_backend_azure.credentials import DefaultCredential
from limpet_backend_azure.service import Service

from tests.services.azurite_server import ACCOUNT, KEY, ManagedIdentity
from tests.services.fixed_answer import FixedAnswer
from tests.services.slow_reader import BODY_BYTES, LIMIT_S, SlowReader


def opened(url: str, place: str = "container:/") -> AzureBackend:
    """The backend with what is at the address in the place of Azure."""
    return AzureBackend.open(place, {"account-name": ACCOUNT, "account-key": KEY, "endpoint": url})


@pytest.mark.parametrize("place", ["container:../other", "container:..", "container:a/../../other"])
def test_places_outside_of_the_container(place: str) -> None:
    """What leads out of the container would put a config over another repository's, and list no file of it."""
    with pytest.raises(UsageError, match="leads out of the container"):
        opened("http://127.0.0.1:1", place)


@pytest.mark.parametrize("body", [b"<html>Please sign in</html>", b"<EnumerationResults/>", b"<Enumera"])
def test_a_listing_that_is_none(body: bytes) -> None:
    """What a portal on the way answers must not pass for an empty repository."""
    with FixedAnswer(body).running() as url:
        backend = opened(url)
        with pytest.raises(BackendError) as caught:
            list(backend.list(FileKind.INDEX))
        assert not caught.value.permanent
        backend.close()


def test_other_bytes_than_were_asked_for() -> None:
    """A cache on the way that gives another range, or a body whose end nobody knows, is not believed."""
    answer = FixedAnswer(b"0123", 206, {"Content-Range": "bytes 0-3/10"})
    with answer.running() as url:
        backend = opened(url)
        for offset, length in ((4, 4), (6, None)):
            with pytest.raises(BackendError, match="another range") as caught:
                backend.load(handle_of(b"a pack"), offset, length)
            assert not caught.value.permanent
        assert backend.load(handle_of(b"a pack"), 0, 4) == b"0123"
        answer.status, answer.tells_length = 200, False
        with pytest.raises(BackendError, match="does not tell the size") as caught:
            backend.load(handle_of(b"a pack"))
        assert not caught.value.permanent
        backend.close()


def test_an_upload_may_take_longer_than_the_time_limit() -> None:
    """A slow line is not a stuck request: over one, no pack would ever arrive."""
    with SlowReader() as server:
        options = {"account-name": ACCOUNT, "account-key": KEY, "endpoint": f"http://127.0.0.1:{server.port}"}
        backend = AzureBackend.open("container:/", options, Transport(stuck_request_timeout_s=LIMIT_S))
        with pytest.raises(BackendError, match="does not say that it is stored"):  # it takes bytes, and keeps none
            save_all(backend, FileKind.PACK, [some_bytes(BODY_BYTES)])
        backend.close()


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_that_stored_nothing(status: int) -> None:
    """A portal on the way that says 200 to everything must not have a backup taken for stored."""
    with FixedAnswer(b"", status).running() as url:
        backend = opened(url)
        with pytest.raises(BackendError, match="does not say that it is stored") as caught:
            save_all(backend, FileKind.PACK, [b"a pack"])
        assert not caught.value.permanent
        backend.close()


@pytest.mark.parametrize("status", [200, 201, 204, 206])
def test_a_success_that_removed_nothing(status: int) -> None:
    """A lock that a portal on the way took for removed would keep everybody else out."""
    with FixedAnswer(b"", status).running() as url:
        backend = opened(url)
        with pytest.raises(BackendError, match="does not say that it is removed") as caught:
            backend.remove(handle_of(b"a pack"))
        assert not caught.value.permanent
        backend.close()


@pytest.mark.parametrize(("code", "is_made"), [("ContainerAlreadyExists", True), ("ContainerBeingDeleted", False)])
def test_a_container_of_before(code: str, is_made: bool) -> None:
    """A container that Azure still removes takes no file for a while: that is waited for, not called made."""
    answer = FixedAnswer(b"", 404, {"x-ms-error-code": code})
    answer.status_of["PUT"] = 409
    with answer.running() as url:
        backend = opened(url)
        if is_made:
            backend.create()
        else:
            with pytest.raises(BackendError, match=code) as caught:
                backend.create()
            assert not caught.value.permanent
        backend.close()


def test_a_token_that_cannot_be_renewed_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """An identity service that is down for a moment, at the end of a token, must not end a long backup."""
    provider = ManagedIdentity()
    credential = DefaultCredential()
    headers: dict[str, str] = {}
    with provider.running() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        credential.authorize("GET", "/", {}, headers)
        bearer = headers["Authorization"]
        monkeypatch.setattr(provider, "header", "another")  # everybody is refused now
        credential._credential = None  # azure-identity keeps tokens too
        assert credential._token is not None
        credential._token = credential._token._replace(expires_on=int(time.time()) + 100)
        credential.authorize("GET", "/", {}, headers)
        assert headers["Authorization"] == bearer  # it still lasts a while
        credential._token = credential._token._replace(expires_on=0)
        with pytest.raises(BackendError, match="no token for Azure") as caught:
            credential.authorize("GET", "/", {}, headers)
        assert not caught.value.permanent
    credential.close()


def test_a_token_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was taken back before its end must not end a backup to which another would be given."""
    provider = ManagedIdentity()
    answer = FixedAnswer(b"", 401, {"x-ms-error-code": "InvalidAuthenticationInfo"})
    with provider.running() as environment, answer.running() as url:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        service = Service(Account(url, DefaultCredential()), DEFAULT_TRANSPORT, 1)
        with pytest.raises(BackendError, match=r"token is refused; check .* \(the service answered 401") as caught:
            service.request("stat", "HEAD", "container")
        service.close()
    assert caught.value.permanent
    assert (provider.asked, len(answer.requests)) == (2, 2)  # and no more: it is refused for good


def test_an_identity_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nine ways to sign in one is set up and answers 401: a line that does not say which has people guess."""
    provider = ManagedIdentity()
    credential = DefaultCredential()
    with provider.running() as environment:
        for name, value in (environment | {"IDENTITY_HEADER": "another"}).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(BackendError) as caught:
            credential.authorize("GET", "/", {}, {})
    credential.close()
    assert caught.value.permanent
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("no token for Azure: ManagedIdentityCredential: ")
    assert "401" in message
    assert "AzureCliCredential" not in message
    assert "set AZURE_ACCOUNT_KEY" in message

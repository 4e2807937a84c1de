"""What something in the place of Google's service, or between, may answer; and tokens that cannot be sent."""

from __future__ import annotations

import pytest
from limpet.contracts.backend import FileKind
from limpet.errors import BackendError, UsageError
from limpet.testing.backend import handle_of, save_all
from limpet_backend_gs import GoogleBackend

from tests.services.fixed_answer import FixedAnswer


def test_other_bytes_than_were_asked_for() -> None:
    """A cache on the way that gives another range, or a body whose end nobody knows, is not believed."""
    answer = FixedAnswer(b"0123", 206, {"Content-Range": "bytes 0-3/10"})
    with answer.running() as url:
        backend = GoogleBackend.open("bucket:/", {"endpoint": url})
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


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"size": "6"}', b'{"size": "6", "md5Hash": "other"}'])
def test_a_success_that_stored_nothing(body: bytes) -> None:
    """A portal on the way that says 200 to everything must not have a backup taken for stored."""
    with FixedAnswer(body).running() as url:
        backend = GoogleBackend.open("bucket:/", {"endpoint": url})
        with pytest.raises(BackendError) as caught:
            save_all(backend, FileKind.PACK, [b"a pack"])
        assert not caught.value.permanent
        backend.close()


@pytest.mark.parametrize(("status", "body"), [(200, b""), (200, b"<html>"), (202, b""), (206, b"")])
def test_a_success_that_removed_nothing(status: int, body: bytes) -> None:
    """A lock that a portal on the way took for removed would keep everybody else out."""
    with FixedAnswer(body, status).running() as url:
        backend = GoogleBackend.open("bucket:/", {"endpoint": url})
        with pytest.raises(BackendError, match="does not say that it is removed") as caught:
            backend.remove(handle_of(b"a pack"))
        assert not caught.value.permanent
        backend.close()


@pytest.mark.parametrize("token", ["ya29.hidden\nhidden", "ya29.hidden€", "ya29 hidden"])
def test_a_token_that_no_header_can_hold(token: str) -> None:
    """A token pasted with a line break is told at once and in words, and not shown."""
    with pytest.raises(UsageError, match="in one line") as caught:
        GoogleBackend.open("bucket:/", {"access-token": token})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("items", [b"5", b"null", b'{"name": "x"}', b"[5]"])
def test_a_listing_of_something_else(items: bytes) -> None:
    """Only what the contract names may come out: anything else would end a run by a traceback."""
    with FixedAnswer(b'{"items": ' + items + b"}").running() as url:
        backend = GoogleBackend.open("bucket:/", {"endpoint": url})
        with pytest.raises(BackendError, match="no listing") as caught:
            list(backend.list(FileKind.PACK))
        assert not caught.value.permanent
        backend.close()

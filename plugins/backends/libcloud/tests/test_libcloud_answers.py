"""What something between Limpet and the provider may answer: none of it is taken for a file's bytes."""

from __future__ import annotations

import pytest
from limpet.contracts.options import OptionValue
from limpet.errors import BackendError
from limpet.testing.backend import handle_of
from limpet_backend_libcloud import LibcloudBackend

from tests.services.fixed_answer import FixedAnswer


def test_other_bytes_than_were_asked_for() -> None:
    """A cache on the way that gives another range, or a body whose end nobody knows, is not believed."""
    answer = FixedAnswer(b"0123", 206, {"Content-Range": "bytes 0-3/10"})
    with answer.running() as url:
        place: dict[str, OptionValue] = {"host": "127.0.0.1", "port": int(url.rpartition(":")[2]), "secure": False}
        backend = LibcloudBackend.open("minio:bucket", {"key": "key", "secret": "secret", **place})
        assert backend.load(handle_of(b"a pack"), 0, 4) == b"0123"
        with pytest.raises(BackendError, match="damaged on its way") as caught:
            backend.load(handle_of(b"a pack"), 4, 4)
        assert not caught.value.permanent
        answer.status, answer.tells_length, answer.headers = 200, False, {}
        with pytest.raises(BackendError, match="damaged on its way") as caught:
            backend.load(handle_of(b"a pack"))
        assert not caught.value.permanent
        answer.tells_length = True
        assert backend.load(handle_of(b"a pack")) == b"0123"
        backend.close()

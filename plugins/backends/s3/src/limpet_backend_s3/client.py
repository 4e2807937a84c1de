"""`Client`: signed requests to one bucket over a pool of kept connections, and their answers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import urllib3
from limpet.contracts.backend import Content
from limpet.contracts.transport import Transport
from limpet.errors import BackendError
from urllib3.exceptions import HTTPError

from limpet_backend_s3.credentials import Credentials, Keyring
from limpet_backend_s3.errors import Refusal, broken, refused
from limpet_backend_s3.place import DEFAULT_REGION, BucketLookup, Place
from limpet_backend_s3.pool import open_pool
from limpet_backend_s3.signature import EMPTY_SHA256, Query, quote_path, quote_query, signed_headers

USER_AGENT = "limpet-backend-s3/0.1.0"
PIECE_BYTES = 256 << 10
"""So much is sent at once: the time limit of a socket is for one call, and must not be one for a whole upload."""
_PLAIN_WITHOUT_REASON = frozenset({404, 405})
_WRONG_REGION = frozenset({301, 307, 308, 400, 403})


@dataclass(frozen=True, slots=True)
class _Request:
    what: str
    method: str
    key: str
    query: Query
    headers: Mapping[str, str]
    content: Content | None

    def to_get_first_byte(self) -> _Request:
        return _Request(self.what, "GET", self.key, self.query, {"range": "bytes=0-0"}, None)


class Client:
    """Requests to the bucket of `place`; at most `connections` at once, each on a connection of its own. Thread-safe.

    `keyring` is None for anonymous requests. Nothing is tried again, except with the region or the fresh credentials
    that an answer shows to be needed. Every method raises BackendError only.
    """

    def __init__(
        self,
        place: Place,
        keyring: Keyring | None,
        transport: Transport,
        *,
        connections: int,
        region: str | None = None,
        lookup: BucketLookup = BucketLookup.AUTO,
    ) -> None:
        self.place = place
        self._keyring = keyring
        self._region = region or place.region or DEFAULT_REGION
        self._bucket_in_host = place.names_bucket_in_host(lookup)
        self._user_agent = transport.user_agent or USER_AGENT
        self._http = open_pool(place, transport, connections)

    @property
    def region(self) -> str:
        return self._region

    @property
    def host(self) -> str:
        """Host and port that requests go to."""
        host = self.place.host(self._region)
        return f"{self.place.bucket}.{host}" if self._bucket_in_host else host

    @contextmanager
    def request(
        self,
        what: str,
        method: str,
        key: str = "",
        *,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
    ) -> Iterator[Answer]:
        """The answer to a request that succeeded (2xx), to be read inside the context; `what` names it in errors."""
        with closing(self._answer(_Request(what, method, key, query, headers or {}, content))) as answer:
            yield answer

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self._http.clear()

    def _answer(self, request: _Request) -> Answer:
        for is_last in (False, False, True):
            region = self._region
            credentials = None if self._keyring is None else self._keyring.current()
            answer = self._send(request, credentials)
            if answer.is_success:
                return answer
            with closing(answer):
                refusal = answer.refusal()
            if request.method == "HEAD" and refusal.status not in _PLAIN_WITHOUT_REASON:
                # An answer to HEAD has no body to say the reason in.
                with closing(self._send(request.to_get_first_byte(), credentials)) as told:
                    refusal = refusal if told.is_success else told.refusal()
            if is_last or not (self._adopts_region(refusal, region) or self._renews(refusal, credentials)):
                break
        raise refused(request.what, refusal, bucket=self.place.bucket, host=self.host)

    def _send(self, request: _Request, credentials: Credentials | None) -> Answer:
        host, content = self.host, request.content
        path = "/" if self._bucket_in_host else f"/{self.place.bucket}/"
        path = quote_path(path + request.key if request.key else path.rstrip("/") or "/")
        query = quote_query(request.query)
        headers = {"host": host, **request.headers}
        if content is not None:
            headers["content-length"] = str(content.size_bytes)
        if credentials is not None:
            body_sha256 = content.sha256.hex() if content is not None else EMPTY_SHA256
            now, region = datetime.now(UTC), self._region
            headers = signed_headers(
                request.method, path, query, headers, body_sha256, credentials=credentials, region=region, now=now
            )
        del headers["host"]  # is sent by the connection itself, the same
        headers["user-agent"] = self._user_agent
        try:
            response = self._http.urlopen(
                request.method,
                f"{self.place.scheme}://{host}{path}{'?' if query else ''}{query}",
                body=None if content is None else _pieces(content.data),
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            raise broken(request.what, error, host) from error
        return Answer(response, request.what, host)

    def _adopts_region(self, refusal: Refusal, region: str) -> bool:
        """Whether the service told of another region than the one that was asked in; that one is used from now on."""
        if refusal.region in {None, region} or refusal.status not in _WRONG_REGION:
            return False
        self._region = str(refusal.region)
        return True

    def _renews(self, refusal: Refusal, credentials: Credentials | None) -> bool:
        """Whether other credentials are to be had in the place of those that have expired."""
        if refusal.code != "ExpiredToken" or self._keyring is None or credentials is None:
            return False
        return self._keyring.refused(credentials)


class Answer:
    """An answer whose body can be read once; without that its connection is given up when it is closed."""

    def __init__(self, response: urllib3.BaseHTTPResponse, what: str, host: str) -> None:
        self._response = response
        self._what = what
        self._host = host

    @property
    def is_success(self) -> bool:
        return 200 <= self._response.status < 300

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in whatever case."""
        return self._response.headers

    @property
    def says_its_length(self) -> bool:
        """Whether the body has an end of its own; else a cut one is not to be told from a whole one."""
        return "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()

    def read(self) -> bytes:
        """The whole body; a transient BackendError where less comes than was announced."""
        try:
            return self._response.read()
        except (HTTPError, OSError) as error:
            raise broken(self._what, error, self._host) from error

    def read_into(self, buffer: memoryview) -> None:
        """Fill the whole buffer with the body; a BackendError where the body is shorter or longer."""
        position = 0
        try:
            while position < buffer.nbytes:
                piece = self._response.read(min(PIECE_BYTES, buffer.nbytes - position))
                if not piece:
                    break
                buffer[position : position + len(piece)] = piece
                position += len(piece)
            is_longer = position == buffer.nbytes and bool(self._response.read(1))
        except (HTTPError, OSError) as error:
            raise broken(self._what, error, self._host) from error
        if position < buffer.nbytes:
            raise BackendError(f"{self._what}: {self._host} sent {position} bytes of {buffer.nbytes}")
        if is_longer:
            raise BackendError(f"{self._what}: {self._host} sent more than the {buffer.nbytes} bytes asked for")

    def refusal(self) -> Refusal:
        return Refusal.read(self.status, self.headers, self.read())

    def close(self) -> None:
        """Give the connection back: for the next request where little of the body is left, else closed."""
        if (self._response.length_remaining or 0) <= PIECE_BYTES:
            self._response.drain_conn()
        else:
            self._response.close()
        self._response.release_conn()


def _pieces(data: memoryview) -> Iterator[memoryview]:
    view = data.cast("B")
    return (view[start : start + PIECE_BYTES] for start in range(0, view.nbytes, PIECE_BYTES))


def integrity_headers(content: Content, *, sha256: bool) -> dict[str, str]:
    """What lets the service check the body; buckets with object lock take none without it."""
    if sha256:
        digest = base64.b64encode(content.sha256).decode()
        return {"x-amz-sdk-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": digest}
    md5 = hashlib.md5(content.data, usedforsecurity=False).digest()
    return {"content-md5": base64.b64encode(md5).decode()}

"""Backblaze B2's native API (v1 to v4) over HTTP on the loopback, which b2sdk's own RawSimulator answers.

usage: python b2_simulator.py PORT [CERTIFICATE]

With a certificate it is an HTTPS proxy too, which ends TLS itself: a program that has its endpoint hard-wired, such as
restic, talks to it as to api.backblazeb2.com. POST /_sim/expire ends all tokens; /_sim/fail {"on": PATH, "count": N,
"status": S} fails the next N requests whose path begins so, by half a body and a closed connection where S is 0;
GET /_sim/stats counts requests and connections.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import re
import ssl
import sys
import threading
import urllib.parse
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from b2sdk._internal import exception as b2  # type: ignore[import-untyped]  # b2sdk has no py.typed
from b2sdk._internal.raw_simulator import BucketSimulator, RawSimulator  # type: ignore[import-untyped]

ACCOUNT_ID, ACCOUNT_KEY = "account-0", "masterKey-0"
"""What the simulator calls its first account."""
API_HOST = "api.backblazeb2.com:443"
RETRY_AFTER_S = "7"
"""What a request that is told to fail says about when to come back."""
UPLOAD_HOST = "https://upload.example.com"
PART_SIZE = 100_000_000
PAGE = 1000
"""The service may list fewer entries than it is asked for: here it always does."""
NEWEST_FILE_NUMBER = 10**12 - 1

CALLS: dict[str, dict[str, str]] = {
    "create_bucket": {"accountId": "account_id", "bucketName": "bucket_name", "bucketType": "bucket_type"},
    "delete_bucket": {"accountId": "account_id", "bucketId": "bucket_id"},
    "list_buckets": {"accountId": "account_id", "bucketId": "bucket_id", "bucketName": "bucket_name"},
    "list_file_names": {
        "bucketId": "bucket_id",
        "startFileName": "start_file_name",
        "maxFileCount": "max_file_count",
        "prefix": "prefix",
    },
    "list_file_versions": {
        "bucketId": "bucket_id",
        "startFileName": "start_file_name",
        "startFileId": "start_file_id",
        "maxFileCount": "max_file_count",
        "prefix": "prefix",
    },
    "get_upload_url": {"bucketId": "bucket_id"},
    "get_file_info": {"fileId": "file_id"},
    "delete_file_version": {"fileId": "file_id", "fileName": "file_name"},
    "hide_file": {"bucketId": "bucket_id", "fileName": "file_name"},
    "start_large_file": {
        "bucketId": "bucket_id",
        "fileName": "file_name",
        "contentType": "content_type",
        "fileInfo": "file_info",
    },
    "list_unfinished_large_files": {
        "bucketId": "bucket_id",
        "startFileId": "start_file_id",
        "maxFileCount": "max_file_count",
        "namePrefix": "prefix",
    },
    "cancel_large_file": {"fileId": "file_id"},
    "create_key": {
        "accountId": "account_id",
        "capabilities": "capabilities",
        "keyName": "key_name",
        "validDurationInSeconds": "valid_duration_seconds",
        "bucketIds": "bucket_ids",
        "namePrefix": "name_prefix",
    },
}
"""The simulator's methods, and their arguments by the names they have on the wire."""
KEY_ARGUMENTS = ("valid_duration_seconds", "bucket_ids", "name_prefix")

STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (b2.InvalidAuthToken, 401, "bad_auth_token"),
    (b2.Unauthorized, 401, "unauthorized"),
    (b2.FileNotPresent, 404, "not_found"),
    (b2.NonExistentBucket, 400, "bad_bucket_id"),
    (b2.DuplicateBucketName, 400, "duplicate_bucket_name"),
    (b2.BadJson, 400, "bad_json"),
    (b2.UnsatisfiableRange, 416, "range_not_satisfiable"),
    (b2.FileAlreadyHidden, 400, "already_hidden"),
    (b2.B2Error, 400, "bad_request"),
    (AssertionError, 400, "bad_request"),
    (KeyError, 400, "bad_request"),
)


class Bucket(BucketSimulator):  # type: ignore[misc]  # untyped
    """A bucket of any number of files; names that are not there cannot be hidden, as in the real service."""

    FIRST_FILE_ID = str(NEWEST_FILE_NUMBER)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # They count down and are all of one length: the newest version sorts first.
        self.file_id_counter = itertools.count(NEWEST_FILE_NUMBER, -1)
        self.upload_timestamp_counter = itertools.count(5000)
        self.upload_url_counter = itertools.count()

    def list_file_names(
        self, token: str, start_file_name: str | None = None, max_file_count: int = 100, prefix: str | None = None
    ) -> Any:
        # The simulator ends its listing at the first name without the prefix, also where that comes before all with it.
        return super().list_file_names(token, start_file_name or prefix, max_file_count, prefix)

    def list_file_versions(
        self,
        token: str,
        start_file_name: str | None = None,
        start_file_id: str | None = None,
        max_file_count: int = 100,
        prefix: str | None = None,
    ) -> Any:
        return super().list_file_versions(token, start_file_name or prefix, start_file_id, max_file_count, prefix)

    def hide_file(self, account_auth_token: str, file_name: str) -> Any:
        versions = self.list_file_versions(account_auth_token, file_name, None, 1, file_name)["files"]
        if not versions or versions[0]["fileName"] != file_name:
            raise b2.FileNotPresent(file_id_or_name=file_name)
        if versions[0]["action"] == "hide":
            raise b2.FileAlreadyHidden(file_name)
        return super().hide_file(account_auth_token, file_name)

    def _simulate_chunked_post(self, stream: io.BytesIO, *_arguments: Any, **_options: Any) -> bytes:
        return stream.getvalue()


class Simulator(RawSimulator):  # type: ignore[misc]  # untyped
    """The account. Restricted keys are checked in every call, which the simulator itself does in a few only."""

    get_file_info = RawSimulator.get_file_info_by_id

    BUCKET_SIMULATOR_CLASS = Bucket

    def __init__(self) -> None:
        super().__init__()
        self.bucket_id_counter = itertools.count()
        self.subject: tuple[str | None, str | None] = (None, None)
        """The bucket's id and the file's name that the call of this moment is about."""

    def check(self, token: str, capability: str) -> None:
        """Unauthorized or InvalidAuthToken unless the token's key may do this with the subject."""
        if token not in self.auth_token_to_key:
            raise b2.InvalidAuthToken("unknown token", "bad_auth_token")
        self._assert_account_auth(self.API_URL, token, self.auth_token_to_key[token].account_id, capability)

    def _assert_account_auth(  # noqa: PLR0917  # b2sdk's signature
        self,
        api_url: str,
        account_auth_token: str,
        account_id: str,
        capability: str,
        bucket_id: str | None = None,
        file_name: str | None = None,
    ) -> None:
        bucket, name = self.subject
        super()._assert_account_auth(
            api_url, account_auth_token, account_id, capability, bucket_id or bucket, file_name or name
        )


class Server(ThreadingHTTPServer):
    """All state of one simulated service."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, certificate: str | None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{port}"
        self.simulator = Simulator()
        self.simulator.create_account()
        self.lock = threading.RLock()
        self.counts: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.failures: list[tuple[str, int]] = []
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
            self.context.load_verify_locations(certificate)
            self.context.verify_mode = ssl.CERT_OPTIONAL

    def take_failure(self, path: str) -> int | None:
        """The status that this request shall fail with."""
        with self.lock:
            for number, (prefix, status) in enumerate(self.failures):
                if path.startswith(prefix):
                    del self.failures[number]
                    return status
        return None


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Server
    is_cut = False
    """Whether the answer of this moment breaks off."""

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        self.server.counts["connections"] += 1

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: the log is for what is wrong with the server itself."""

    def do_CONNECT(self) -> None:
        """End TLS here, and go on as the API's host."""
        if self.server.context is None or self.path != API_HOST:
            self.send_error(502)
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.wfile.flush()
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        if self.connection.getpeercert():
            self.server.counts["client certificates"] += 1
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", self.wbufsize)
        self.close_connection = False

    def answer(self) -> None:
        """Any request."""
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        parts = urllib.parse.urlsplit(self.path)
        self.server.counts["requests"] += 1
        self.server.counts[f"{self.command} {parts.path.split('/', 3)[-1]}"] += 1
        self.server.agents.add(self.headers.get("User-Agent", ""))
        status = self.server.take_failure(parts.path)
        self.is_cut = status == 0
        if status:
            answer = {"status": status, "code": "service_unavailable", "message": "told to fail"}
            self.send(status, answer, {"retry-after": RETRY_AFTER_S})
            return
        try:
            self.route(parts.path, dict(urllib.parse.parse_qsl(parts.query)), body)
        except Exception as error:  # each becomes an answer
            self.send_failure(error)

    do_GET = do_HEAD = do_POST = answer  # noqa: N815  # http.server's names

    def route(self, path: str, query: dict[str, str], body: bytes) -> None:
        """Answer by path."""
        call = re.fullmatch(r"/b2api/(v\d)/b2_(\w+)", path)
        if path.startswith("/_sim/"):
            self.send(200, self.control(path.removeprefix("/_sim/"), body))
        elif path.startswith("/upload/"):
            self.upload(path, body)
        elif path.startswith("/file/"):
            self.download(path)
        elif call and call[2] == "authorize_account":
            self.send(200, self.authorize(call[1]))
        elif call and call[2] in CALLS:
            self.send(200, self.call(call[2], {**query, **(json.loads(body) if body else {})}))
        else:
            self.send(404, {"status": 404, "code": "not_found", "message": path})

    def control(self, action: str, body: bytes) -> Any:
        """What tests ask the server itself for."""
        server = self.server
        if action == "expire":
            server.simulator.expired_auth_tokens |= set(server.simulator.auth_token_to_key)
        elif action == "fail":
            wanted = json.loads(body)
            server.failures.extend([(wanted["on"], wanted["status"])] * wanted["count"])
        return {**server.counts, "agents": sorted(server.agents)}

    def authorize(self, version: str) -> Any:
        """The answer of b2_authorize_account in the form of this version."""
        basic = self.headers["Authorization"].split()[1]
        key_id, _, key = base64.b64decode(basic).decode().partition(":")
        with self.server.lock:
            answer = self.server.simulator.authorize_account("", key_id, key)
        storage = answer["apiInfo"]["storageApi"]
        storage.update(
            apiUrl=self.server.url,
            downloadUrl=self.server.url,
            s3ApiUrl=self.server.url,
            recommendedPartSize=PART_SIZE,
            absoluteMinimumPartSize=PART_SIZE // 20,
        )
        allowed = storage["allowed"]
        bucket = (allowed.get("buckets") or [{}])[0]
        only_bucket = {"bucketId": bucket.get("id"), "bucketName": bucket.get("name")}
        if version == "v3":
            storage.update(only_bucket)
        if version in {"v1", "v2"}:
            names = ("apiUrl", "downloadUrl", "recommendedPartSize", "absoluteMinimumPartSize")
            answer.update({name: storage[name] for name in names}, allowed={**allowed, **only_bucket})
        return answer

    def call(self, name: str, given: dict[str, Any]) -> Any:
        """The answer to one of CALLS."""
        simulator = self.server.simulator
        token = self.headers.get("Authorization", "")
        arguments = {own: given[wire] for wire, own in CALLS[name].items() if given.get(wire) is not None}
        if "max_file_count" in arguments:
            arguments["max_file_count"] = min(PAGE, int(arguments["max_file_count"]))
        if name == "create_key":
            arguments = {**dict.fromkeys(KEY_ARGUMENTS), **arguments}
        with self.server.lock:
            if token not in simulator.auth_token_to_key:
                raise b2.InvalidAuthToken("unknown token", "bad_auth_token")
            bucket_id = given.get("bucketId") or simulator.file_id_to_bucket_id.get(given.get("fileId", ""))
            simulator.subject = (bucket_id, given.get("fileName"))
            try:
                answer = getattr(simulator, name)(simulator.API_URL, token, **arguments) or {}
            finally:
                simulator.subject = (None, None)
        if name == "get_upload_url":
            answer = {**answer, "uploadUrl": answer["uploadUrl"].replace(UPLOAD_HOST, f"{self.server.url}/upload")}
        return answer

    def upload(self, path: str, body: bytes) -> None:
        """Store a file; the token of an upload address holds the account's token at its end."""
        simulator = self.server.simulator
        upload_token = self.headers.get("Authorization", "")
        digest = self.headers["X-Bz-Content-Sha1"]
        with_digest = digest == "hex_digits_at_end"
        data = memoryview(body)[:-40] if with_digest else memoryview(body)
        if hashlib.sha1(data).hexdigest() != (body[-40:].decode() if with_digest else digest):
            raise b2.FileSha1Mismatch("sha1")
        bucket_id, account_token = path.split("/")[2], upload_token.rsplit("/", 1)[-1]
        name = urllib.parse.unquote(self.headers["X-Bz-File-Name"])
        with self.server.lock:
            simulator.subject = (bucket_id, name)
            try:
                simulator.check(account_token, "writeFiles")
                answer = simulator.upload_file(
                    upload_token,
                    upload_token,
                    name,
                    len(body),
                    self.headers["Content-Type"],
                    digest,
                    {},
                    io.BytesIO(body),
                )
            finally:
                simulator.subject = (None, None)
        self.send(200, answer)

    def download(self, path: str) -> None:
        """A file by its name, or the range of it that is asked for."""
        simulator = self.server.simulator
        token = self.headers.get("Authorization", "")
        _, _, bucket_name, name = path.split("/", 3)
        with self.server.lock:
            bucket = simulator.bucket_name_to_bucket.get(bucket_name)
            if bucket is None:
                raise b2.FileNotPresent(file_id_or_name=name)
            simulator.subject = (bucket.bucket_id, urllib.parse.unquote(name))
            try:
                simulator.check(token, "readFiles")
            finally:
                simulator.subject = (None, None)
            with simulator.download_file_from_url(token, simulator.DOWNLOAD_URL + path) as response:
                data = memoryview(response.data_bytes)
        headers = dict(response.headers)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self.send(200, data, headers)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or sys.maxsize), len(data) - 1)
        if start >= len(data):
            raise b2.UnsatisfiableRange
        self.send(206, data[start : end + 1], {**headers, "content-range": f"bytes {start}-{end}/{len(data)}"})

    def send_failure(self, error: Exception) -> None:
        """The service's answer to an error of the simulator."""
        status, code = next(
            ((status, code) for kind, status, code in STATUS if isinstance(error, kind)), (500, "internal_error")
        )
        if isinstance(error, b2.InvalidAuthToken) and "expired" in str(error):
            code = "expired_auth_token"
        self.send(status, {"status": status, "code": code, "message": f"{type(error).__name__}: {error}"})

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Send bytes as they are, and anything else as JSON."""
        if not isinstance(body, memoryview):
            body = memoryview(json.dumps(body, default=str).encode())
            headers = {**(headers or {}), "content-type": "application/json"}
        self.send_response(status)
        for name, value in (headers or {}).items():
            if name != "content-length":
                self.send_header(name, str(value))
        self.send_header("Content-Length", str(body.nbytes))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: body.nbytes // 2] if self.is_cut else body)
        self.wfile.flush()
        self.close_connection = self.close_connection or self.is_cut


if __name__ == "__main__":
    Server(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None).serve_forever()

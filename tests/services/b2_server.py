"""`B2Server`: a Backblaze B2 of one's own for tests, in a process of its own, and the keys and faults they need."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.services.b2_simulator import ACCOUNT_ID, ACCOUNT_KEY
from tests.services.process import ServerProcess, free_port

ALL_FILES = ("listFiles", "readFiles", "writeFiles", "deleteFiles")


class B2Server:
    """A running simulator with one account."""

    key_id = ACCOUNT_ID
    key = ACCOUNT_KEY

    def __init__(self, folder: Path, certificate: str | None = None) -> None:
        port = free_port()
        program = Path(__file__).with_name("b2_simulator.py")
        self.url = f"http://127.0.0.1:{port}"
        self.process = ServerProcess(
            [sys.executable, program, str(port), *([certificate] if certificate else [])], folder / "b2.log"
        ).wait_for_port(port)

    def close(self) -> None:
        """End it, and all that it kept. Idempotent."""
        self.process.close()

    def make_bucket(self, name: str) -> str:
        """A new bucket; its id."""
        made = self.call("create_bucket", accountId=self.key_id, bucketName=name, bucketType="allPrivate")
        return str(made["bucketId"])

    def make_key(
        self, capabilities: tuple[str, ...] = ALL_FILES, *, bucket_id: str | None = None, prefix: str | None = None
    ) -> tuple[str, str]:
        """The id and the secret of a new application key that may do only this."""
        restriction = {"bucketIds": [bucket_id] if bucket_id else None, "namePrefix": prefix}
        made = self.call(
            "create_key", accountId=self.key_id, keyName="a-key", capabilities=list(capabilities), **restriction
        )
        return str(made["applicationKeyId"]), str(made["applicationKey"])

    def expire_tokens(self) -> None:
        """Make every token that was given out expire, as after a day."""
        self._request("POST", "/_sim/expire", b"{}")

    def fail(self, on: str, *, count: int, status: int) -> None:
        """Fail the next requests whose path begins with `on`; status 0 is half an answer, and then no more."""
        self._request("POST", "/_sim/fail", json.dumps({"on": on, "count": count, "status": status}).encode())

    def stats(self) -> dict[str, Any]:
        """How many requests and connections there were, and which programs made them."""
        found: dict[str, Any] = json.loads(self._request("GET", "/_sim/stats"))
        return found

    def call(self, name: str, **arguments: Any) -> Any:
        """The answer of the native API to the owner of the account."""
        token = self._authorize()
        headers = {"Authorization": token, "Content-Type": "application/json"}
        body = json.dumps(arguments).encode()
        return json.loads(self._request("POST", f"/b2api/v4/b2_{name}", body, headers))

    def read(self, bucket: str, name: str) -> bytes | None:
        """The newest version of the file; None if there is none, or if it is hidden."""
        try:
            return self._request("GET", f"/file/{bucket}/{quote(name)}", headers={"Authorization": self._authorize()})
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def write(self, bucket_id: str, name: str, data: bytes) -> None:
        """A new version of the file."""
        upload = self.call("get_upload_url", bucketId=bucket_id)
        headers = {
            "Authorization": upload["authorizationToken"],
            "X-Bz-File-Name": quote(name),
            "Content-Type": "application/octet-stream",
            "X-Bz-Content-Sha1": hashlib.sha1(data).hexdigest(),
        }
        self._request("POST", upload["uploadUrl"].removeprefix(self.url), data, headers)

    def versions(self, bucket_id: str, prefix: str = "") -> list[tuple[str, str]]:
        """Name and action (`upload`, `hide`, `start`) of every version that is kept, the newest of a name first."""
        found = self.call("list_file_versions", bucketId=bucket_id, maxFileCount=10_000, prefix=prefix)["files"]
        return [(file["fileName"], file["action"]) for file in found]

    def _authorize(self) -> str:
        basic = base64.b64encode(f"{self.key_id}:{self.key}".encode()).decode()
        answer = self._request("GET", "/b2api/v4/b2_authorize_account", headers={"Authorization": f"Basic {basic}"})
        return str(json.loads(answer)["authorizationToken"])

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        request = urllib.request.Request(self.url + path, body, headers or {}, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: bytes = response.read()
        return answer

"""Roles: their credentials by the documented protocols of Amazon's services, then used on a real bucket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs

import pytest
from limpet.errors import BackendError
from limpet.registry.opening import open_backend
from limpet.testing.backend import content_of, handle_of
from limpet_backend_s3 import roles
from limpet_backend_s3.credentials import Credentials, Keyring

from tests.services.rclone_s3 import RcloneS3Server

END = "2099-01-01T00:00:00Z"
OWN = {"AccessKeyId": RcloneS3Server.s3_key, "SecretAccessKey": RcloneS3Server.s3_secret, "Expiration": END}


class TokenService(ThreadingHTTPServer):
    """Answers as Amazon's token service and as the services of containers and machines; keeps what it was asked."""

    def __init__(self) -> None:
        asked: list[tuple[str, dict[str, str], str]] = []
        self.asked = asked

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked.append((f"{self.command} {self.path}", headers, body))
                status, text = respond(self.command, self.path, headers, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = do_POST = answer  # noqa: N815  # http.server's names

            def log_message(self, *_arguments: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


def respond(method: str, path: str, headers: dict[str, str], body: str) -> tuple[int, str]:
    """Status and body, as the services document them."""
    if method == "POST":
        action = parse_qs(body)["Action"][0]
        told = "".join(f"<{name}>{value}</{name}>" for name, value in {**OWN, "SessionToken": "t"}.items())
        result = f"<{action}Result><Credentials>{told}</Credentials></{action}Result>"
        namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
        return 200, f'<{action}Response xmlns="{namespace}">{result}</{action}Response>'
    if (method, path) == ("PUT", "/latest/api/token"):
        return 200, "the-token"
    if path.startswith("/latest/") and headers.get("x-aws-ec2-metadata-token") != "the-token":
        return 401, ""
    if path.endswith("/security-credentials/"):
        return 200, "the-role"
    if path == "/for-a-container" and headers.get("authorization") != "let me in":
        return 403, ""
    return 200, json.dumps({"Code": "Success", "Token": "t", **OWN})


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TokenService]:
    """The service, and no keys of the caller's."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with TokenService() as server:
        yield server


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneS3Server]:
    """The bucket's server."""
    with RcloneS3Server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


def of_machine(service: TokenService, folder: Path) -> dict[str, str]:
    """A machine at Amazon."""
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": service.url}


def of_container(service: TokenService, folder: Path) -> dict[str, str]:
    """A container, whose token is in a file."""
    (folder / "token").write_text("let me in\n")
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{service.url}/for-a-container",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(folder / "token"),
    }


def of_web_identity(service: TokenService, folder: Path) -> dict[str, str]:
    """A pod of Kubernetes, say."""
    (folder / "identity").write_text("a.jwt")
    return {
        "AWS_ROLE_ARN": "arn:r",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "identity"),
        "AWS_ENDPOINT_URL_STS": service.url,
    }


def of_assumed_role(service: TokenService, folder: Path) -> dict[str, str]:
    """restic's own variables, on top of keys that are good for nothing else."""
    return {
        "AWS_ACCESS_KEY_ID": "LONGLIVED",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "RESTIC_AWS_ASSUME_ROLE_ARN": "arn:r",
        "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID": "an id",
        "RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT": service.url,
    }


@pytest.mark.parametrize("way", [of_machine, of_container, of_web_identity, of_assumed_role])
def test_roles(
    way: Callable[[TokenService, Path], dict[str, str]],
    service: TokenService,
    rclone: RcloneS3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who runs at Amazon has no long-lived keys, and must not need any."""
    for name, value in way(service, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(roles, "MACHINE_LIMIT_S", 60.0)  # a busy machine may take longer than a second
    backend = open_backend(f"s3:{rclone.url}/bucket/{way.__name__}")
    backend.create()
    backend.save(handle_of(b"x"), content_of(b"x"))
    assert backend.load(handle_of(b"x")) == b"x"
    backend.close()
    if way is of_assumed_role:
        ((_, headers, body),) = service.asked  # once, and kept until it expires
        assert "Credential=LONGLIVED/" in headers["authorization"]
        assert "/us-east-1/sts/aws4_request" in headers["authorization"]
        assert parse_qs(body)["ExternalId"] == ["an id"]


def test_credentials_are_renewed() -> None:
    """A backup takes longer than temporary credentials live."""
    given: list[Credentials] = []

    def fetch() -> Credentials:
        given.append(Credentials(str(len(given)), "s", "t", datetime.now(UTC) + timedelta(seconds=len(given) * 3600)))
        return given[-1]

    keyring = Keyring(fetch)
    assert keyring.current().access_key == "0"  # has but seconds to live
    assert keyring.current().access_key == "1"
    assert keyring.current().access_key == "1"
    assert keyring.refused(given[1])  # the server's clock is ahead
    assert keyring.current().access_key == "2"


def test_no_others_to_be_had_yet() -> None:
    """A token service that is down for a minute ends no backup whose credentials still last for four."""
    answers: list[Credentials | BackendError] = [
        Credentials("first", "s", "t", datetime.now(UTC) + timedelta(minutes=4)),
        BackendError("down", permanent=True),
    ]

    def fetch() -> Credentials:
        answer = answers.pop(0)
        if isinstance(answer, BackendError):
            raise answer
        return answer

    keyring = Keyring(fetch)
    assert keyring.current().access_key == "first"
    assert keyring.current().access_key == "first"  # asked, in vain
    assert not answers
    assert keyring.current().access_key == "first"  # and not asked again at once
    answers.append(BackendError("down"))
    assert keyring.refused(keyring.current())  # by the server they have ended
    with pytest.raises(BackendError, match="down"):
        keyring.current()


def test_service_that_is_down(rclone: RcloneS3Server, service: TokenService, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that cannot be had for now is waited for; the message shows no key."""
    for name, value in of_assumed_role(service, Path()).items():
        monkeypatch.setenv(name, value)
    backend = open_backend(f"s3:{rclone.url}/bucket")
    service.server_close()
    with pytest.raises(BackendError, match="cannot get credentials") as caught:
        backend.stat(handle_of(b"x"))
    assert not caught.value.permanent
    assert "secret" not in str(caught.value)

"""A real OpenStack Keystone on loopback: version 3 of the identity service, its users and trusts."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import requests

from tests.services.closing import Closing
from tests.services.process import SERVICES, ServerProcess, free_port, unavailable

VENV = SERVICES / "keystone"
"""Where `fetch_services.sh` installs it."""
TIMEOUT_S = 60

_CONFIGURATION = """[database]
connection = sqlite:///{folder}/keystone.db
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[token]
provider = fernet
[identity]
password_hash_rounds = 4
[oslo_policy]
enforce_scope = false
"""

_SET_UP = """
import json, os, sys
from keystone.cmd import cli  # takes seconds: once for all commands

for command in json.loads(sys.argv[2]):
    child = os.fork()
    if not child:
        cli.main(["keystone-manage", "--config-file", sys.argv[1], *command])
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{command[0]} failed")
"""

_SERVE = """
import socketserver, sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from keystone.server.wsgi import initialize_public_application

class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

class Handler(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass

port = int(sys.argv.pop())
make_server("127.0.0.1", port, initialize_public_application(), Server, Handler).serve_forever()
"""


class KeystoneServer(Closing):
    """One Keystone with its database below `folder`; the user `admin` of the project `admin` has the password below."""

    password = "adminpw"
    region = "RegionOne"

    def __init__(self, folder: Path) -> None:
        if not (VENV / "bin/keystone-manage").exists():
            unavailable("OpenStack Keystone is not installed: `make test` installs it")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v3"
        for name in ("fernet", "credential"):
            (folder / name).mkdir(parents=True, mode=0o700)
        self._configuration = folder / "keystone.conf"
        self._configuration.write_text(_CONFIGURATION.format(folder=folder))
        self._set_up()
        environment = {"OS_KEYSTONE_CONFIG_DIR": str(folder), "OS_KEYSTONE_CONFIG_FILES": "keystone.conf"}
        serve: list[str | Path] = [VENV / "bin/python", "-c", _SERVE, str(self.port)]
        self._process = ServerProcess(serve, folder / "keystone.log", environment)
        try:
            self._process.wait_for_port(self.port)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it. Idempotent."""
        self._process.close()

    def sign_in(self) -> tuple[str, dict[str, Any]]:
        """The administrator's token, and what Keystone says of it: its user, project, roles."""
        body: dict[str, Any] = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {"name": "admin", "domain": {"id": "default"}, "password": self.password},
                    },
                },
                "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
            }
        }
        answer = requests.post(f"{self.url}/auth/tokens", json=body, timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.headers["X-Subject-Token"], answer.json()["token"]

    def add_object_store(self, url: str) -> None:
        """Have the catalog name the Swift at `url`, with `%(project_id)s` for the account."""
        service = self.post("services", {"service": {"type": "object-store", "name": "swift"}})["service"]
        self.post(
            "endpoints",
            {
                "endpoint": {
                    "service_id": service["id"],
                    "interface": "public",
                    "region": self.region,
                    "url": f"{url}/v1/AUTH_%(project_id)s",
                }
            },
        )

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What Keystone answers to the administrator's request."""
        return self._request("POST", path, body)

    def put(self, path: str) -> None:
        """A request without a body, as roles are given."""
        self._request("PUT", path, None)

    def _request(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        token, _ = self.sign_in()
        headers = {"X-Auth-Token": token}
        answer = requests.request(method, f"{self.url}/{path}", json=body, headers=headers, timeout=TIMEOUT_S)
        assert answer.ok, answer.text
        said: dict[str, Any] = answer.json() if answer.content else {}
        return said

    def _set_up(self) -> None:
        user, group = str(os.getuid()), str(os.getgid())
        who = ["--keystone-user", user, "--keystone-group", group]
        bootstrap = ["--bootstrap-password", self.password, "--bootstrap-region-id", self.region]
        for interface in ("admin", "internal", "public"):
            bootstrap += [f"--bootstrap-{interface}-url", self.url]
        commands = [["db_sync"], ["fernet_setup", *who], ["credential_setup", *who], ["bootstrap", *bootstrap]]
        done = subprocess.run(
            [VENV / "bin/python", "-c", _SET_UP, self._configuration, json.dumps(commands)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

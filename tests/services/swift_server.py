"""A real OpenStack Swift on loopback: its four servers, with TempAuth and S3's interface or with Keystone's tokens."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from tests.services.closing import Closing
from tests.services.process import SERVICES, ServerProcess, unavailable

VENV = SERVICES / "swift"
"""Where `fetch_services.sh` installs it."""
STORES = ("object", "container", "account")

_AFTER_AUTH = "copy slo dlo versioned_writes symlink proxy-logging proxy-server"

_SWIFT = """[swift-hash]
swift_hash_path_suffix = tests
swift_hash_path_prefix = tests
[storage-policy:0]
name = Policy-0
default = yes
"""

_CACHE = '''"""What memcached is to Swift, in the one process that the proxy is here."""
import time


class Cache:
    def __init__(self):
        self.stored = {}

    def get(self, key, raise_on_error=False):
        value, expiry = self.stored.get(key, (None, 0))
        return None if expiry and expiry < time.time() else value

    def set(self, key, value, serialize=True, time=0, min_compress_len=0, raise_on_error=False):
        self.stored[key] = (value, time and __import__("time").time() + time)
        return True

    def incr(self, key, delta=1, time=0):
        value = max(0, int(self.get(key) or 0) + delta)
        self.set(key, value, time=time)
        return value

    def decr(self, key, delta=1, time=0):
        return self.incr(key, -delta, time)

    def delete(self, key, server_key=None):
        self.stored.pop(key, None)

    def get_multi(self, keys, server_key=None):
        return [self.get(key) for key in keys]

    def set_multi(self, mapping, server_key=None, serialize=True, time=0, min_compress_len=0):
        for key, value in mapping.items():
            self.set(key, value, time=time)


def filter_factory(global_conf, **conf):
    cache = Cache()

    def wrap(app):
        def call(environ, start_response):
            environ["swift.cache"] = cache
            return app(environ, start_response)

        return call

    return wrap
'''

_PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
{tls}
workers = 0
user = {user}
swift_dir = {etc}
log_level = INFO
log_udp_host =
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk {auth} {stores}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
node_timeout = 60
recoverable_node_timeout = 60
conn_timeout = 10
[filter:cache]
paste.filter_factory = limpet_cache:filter_factory
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
auth_pipeline_check = false
max_bucket_listing = {page}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
user_test_reader = reading
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = admin
username = admin
password = adminpw
delay_auth_decision = True
cache = swift.cache
include_service_catalog = False
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, swiftoperator
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""

_STORE = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {etc}
devices = {devices}
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

_RINGS = """
import sys
from swift.common.ring import RingBuilder
etc = sys.argv[1]
for kind, port in zip(sys.argv[2::2], sys.argv[3::2]):
    builder = RingBuilder(6, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "sdb1", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(f"{etc}/{kind}.ring.gz")
"""


class SwiftServer(Closing):
    """One Swift with its files below `folder`, which must be on a file system with extended attributes.

    TempAuth v1 at `auth_url` and S3 at `url`; with `keystone_url` (`http://127.0.0.1:PORT/v3`, where the user `admin`
    of the project `admin` has the password `adminpw`) Keystone's tokens instead of both. `page` is the length of a
    page in S3's listings; `certificate` (a PEM file with the key in it) makes the proxy speak TLS.
    """

    user = "test:tester"
    key = "testing"
    s3_key = "test:tester"
    s3_secret = "testing"
    region = "us-east-1"
    reader = "test:reader"
    """A second user with no rights but those that a container's access list gives."""
    reader_key = "reading"

    def __init__(
        self, folder: Path, *, keystone_url: str | None = None, page: int = 1000, certificate: Path | None = None
    ) -> None:
        self.folder = folder
        self.keystone_url = keystone_url
        if not (VENV / "bin/swift-proxy-server").exists():
            unavailable("OpenStack Swift is not installed: `make test` installs it")
        self.port, *ports = _free_ports(1 + len(STORES))
        self.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{self.port}"
        self.auth_url = f"{self.url}/auth/v1.0"
        self._write_configuration(ports, page, certificate)
        numbered = [str(part) for pair in zip(STORES, ports, strict=True) for part in pair]
        subprocess.run([VENV / "bin/python", "-c", _RINGS, str(self._etc), *numbered], check=True)
        self._session: tuple[str, str] | None = None
        self._running = ExitStack()
        environment = {"PYTHONPATH": str(self._etc)}
        try:
            for kind in (*STORES, "proxy"):
                command: list[str | Path] = [VENV / f"bin/swift-{kind}-server", self._etc / f"{kind}-server.conf", "-v"]
                self._running.enter_context(started := ServerProcess(command, folder / f"{kind}.log", environment))
            for port in (*ports, self.port):
                started.wait_for_port(port)
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> Path:
        """What the proxy says, one line a request."""
        return self.folder / "proxy.log"

    def get(self, path: str) -> bytes | None:
        """The object at `CONTAINER/NAME`, through Swift's own interface; None if there is none."""
        return self._call("GET", path)

    def put(self, path: str, data: bytes) -> None:
        """Store an object at `CONTAINER/NAME`, through Swift's own interface."""
        self._call("PUT", path, data)

    def let_read(self, container: str) -> None:
        """Give `reader` the right to read and list the container."""
        self._call("POST", container, headers={"X-Container-Read": self.reader})

    def close(self) -> None:
        """End all four. Idempotent."""
        self._running.close()

    def _call(
        self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes | None:
        if not self._session:
            login = {"X-Auth-User": self.user, "X-Auth-Key": self.key}
            with urllib.request.urlopen(urllib.request.Request(self.auth_url, headers=login)) as answer:
                self._session = (answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"])
        url, token = self._session
        sent = {"X-Auth-Token": token, **(headers or {})}
        request = urllib.request.Request(f"{url}/{quote(path)}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            if error.code == 404 and method == "GET":
                return None
            raise

    @property
    def _etc(self) -> Path:
        return self.folder / "etc"

    def _write_configuration(self, ports: Sequence[int], page: int, certificate: Path | None) -> None:
        etc, devices, user = self._etc, self.folder / "srv", getpass.getuser() if os.getuid() else "root"
        etc.mkdir(parents=True)
        (devices / "sdb1").mkdir(parents=True)
        (etc / "swift.conf").write_text(_SWIFT)
        (etc / "limpet_cache.py").write_text(_CACHE)
        proxy = _PROXY.format(
            port=self.port,
            user=user,
            etc=etc,
            page=page,
            tls="" if certificate is None else f"cert_file = {certificate}\nkey_file = {certificate}",
            auth="s3api tempauth" if self.keystone_url is None else "authtoken keystoneauth",
            stores=_AFTER_AUTH,
            keystone=self.keystone_url or "",
        )
        (etc / "proxy-server.conf").write_text(proxy)
        for kind, port in zip(STORES, ports, strict=True):
            store = _STORE.format(kind=kind, port=port, user=user, etc=etc, devices=devices)
            (etc / f"{kind}-server.conf").write_text(store)


def _free_ports(count: int) -> list[int]:
    """Different loopback ports that nobody listens on at this moment."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]

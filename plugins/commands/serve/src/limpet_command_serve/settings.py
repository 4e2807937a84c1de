"""Everything a server is told: read from the command line, and passed as JSON to the process that serves."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from limpet.errors import UsageError

TLS_VERSIONS = ("1.2", "1.3")


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `limpet serve`, by their names; paths are absolute, None and 0 mean without.

    None of it is a secret but what people may write into `backend`, hence no repr of that.
    """

    path: str
    listen: str = ":8000"
    backend: str | None = None
    """Location of a store that is no folder, see `gateway_store`; its secrets are in no message."""
    backend_options: dict[str, str] = field(default_factory=dict)
    """What -o says, by full name."""
    backend_transport: dict[str, Any] = field(default_factory=dict)
    """The fields of the `Transport` that it is opened with."""
    backend_limit_upload: int | None = None
    """Bytes per second to the backend, of all clients together; likewise `backend_limit_download`."""
    backend_limit_download: int | None = None
    log: str | None = None
    debug: bool = False

    tls: bool = False
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_min_ver: str = "1.2"

    no_auth: bool = False
    htpasswd_file: str | None = None
    proxy_auth_username: str | None = None
    append_only: bool = False
    private_repos: bool = False
    group_accessible_repos: bool = False
    no_verify_upload: bool = False

    prometheus: bool = False
    prometheus_no_auth: bool = False

    max_size: int | None = None
    repository_quota: int | None = None
    user_quota: int | None = None
    limit_upload: int | None = None
    """Bytes per second of one client; likewise `limit_download`."""
    limit_download: int | None = None
    limit_requests: float | None = None
    """Of one client, per second."""
    retention_days: int = 0
    audit_log: str | None = None
    verify: bool = False
    verify_rate: int | None = None
    """Bytes per second."""

    grace_s: float = 30.0
    """How long running requests may go on after SIGTERM."""
    header_timeout_s: float = 30.0
    """How long a client may take for the head of a request, and for TLS."""
    idle_timeout_s: float = 120.0
    """How long a connection may wait for its next request."""
    stall_timeout_s: float = 60.0
    """How long a body may stand still, either way."""
    most_connections: int = 10_000
    """Beyond, a connection that waits for a request is closed for a new one, the oldest first."""

    def __repr__(self) -> str:
        return f"Settings({self.path!r}, listen={self.listen!r})"

    def verify_sense(self) -> None:
        """UsageError where options contradict each other."""
        if not self.tls and (self.tls_key or self.tls_cert):
            raise UsageError("--tls-cert and --tls-key mean nothing without --tls: add it, or leave them out")
        if self.tls_min_ver not in TLS_VERSIONS:
            raise UsageError(f"--tls-min-ver {self.tls_min_ver!r} is not one of 1.2 and 1.3")
        if self.no_auth and self.private_repos:
            raise UsageError("--private-repos needs users: leave --no-auth out")
        if not self.prometheus and self.prometheus_no_auth:
            raise UsageError("--prometheus-no-auth means nothing without --prometheus: add it, or leave it out")

    def encode(self) -> bytes:
        """One JSON document."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Settings:
        """What `encode` made."""
        return cls(**json.loads(data))

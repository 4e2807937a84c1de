"""Which cluster, and who we are there: a kubeconfig and one of its contexts, or the service account of our own pod.

Merging, precedence and exec plugins as kubectl has them:
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limpet.errors import SourceError, UsageError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EXEC_LIMIT_S = 60.0
_WAY_OUT = "give one with -o kubernetes.kubeconfig=FILE or $KUBECONFIG"
Fields = Mapping[str, Any]


@dataclass(slots=True)
class Identity:
    """What proves who we are. Secret."""

    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    """Read again for every request: such tokens are exchanged every hour."""
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    """PEM, both."""
    command: Fields | None = field(default=None, repr=False)
    """The `exec` of a user: a program that prints a token or a certificate."""

    def bearer(self) -> str | None:
        """The token to show, if there is one; SourceError if it cannot be had."""
        self.obtain()
        if self.token_file is not None:
            try:
                return self.token_file.read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SourceError(f"the Kubernetes token in {self.token_file} cannot be read: {error}") from error
        return self.token

    def obtain(self, *, again: bool = False) -> bool:
        """Run the program that gives the credentials, once or `again`; whether there is such a program."""
        if self.command is None:
            return False
        if again or (self.token is None and self.certificate is None):
            status = _run_plugin(self.command)
            self.token = status.get("token")
            if "clientCertificateData" in status:
                self.certificate = str(status["clientCertificateData"]).encode()
                self.key = str(status.get("clientKeyData", "")).encode()
        return True


@dataclass(frozen=True, slots=True)
class Access:
    """A cluster and how it is spoken to."""

    server: str
    """`https://host:port`, maybe with a path."""
    identity: Identity
    authorities: str | None = None
    """PEM; None for those of the system."""
    verifies: bool = True
    server_name: str | None = None
    """What the server's certificate is to name, where that is not its host."""
    proxy: str | None = field(default=None, repr=False)
    context: str = ""


def load_access(kubeconfig: str | None, context: str | None) -> Access:
    """The access that the options, the environment and the files say; UsageError if they name none."""
    named = kubeconfig or os.environ.get("KUBECONFIG")
    paths = [Path(part).expanduser() for part in (named or "~/.kube/config").split(os.pathsep) if part]
    existing = [path for path in paths if path.is_file()]
    if existing:
        return _from_files(existing, context)
    if kubeconfig or context:
        raise UsageError(f"no kubeconfig at {', '.join(map(str, paths))}: {_WAY_OUT}")
    if "KUBERNETES_SERVICE_HOST" in os.environ and (SERVICE_ACCOUNT / "token").exists():
        return _from_own_pod()
    raise UsageError(f"no kubeconfig at {', '.join(map(str, paths))}, and this is no pod of a cluster: {_WAY_OUT}")


def _from_own_pod() -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    shown = f"[{host}]" if ":" in host else host
    identity = Identity(token_file=SERVICE_ACCOUNT / "token")
    return Access(f"https://{shown}:{port}", identity, (SERVICE_ACCOUNT / "ca.crt").read_text(), context="in-cluster")


def _from_files(paths: list[Path], context: str | None) -> Access:
    merged: dict[str, dict[str, tuple[Fields, Path]]] = {"contexts": {}, "clusters": {}, "users": {}}
    current = ""
    for path in paths:
        document = _read(path)
        current = current or str(document.get("current-context") or "")
        for kind, known in merged.items():
            for item in document.get(kind) or ():
                if isinstance(item, Mapping) and isinstance(item.get(kind[:-1]), Mapping):
                    known.setdefault(str(item.get("name")), (item[kind[:-1]], path))  # the first file wins
    name = context or current
    if name not in merged["contexts"]:
        possible = ", ".join(sorted(merged["contexts"])) or "none"
        asked = f"no context {name!r}" if name else "no current context"
        raise UsageError(
            f"{asked} in {', '.join(map(str, paths))} (there: {possible}): give -o kubernetes.context=NAME"
        )
    chosen = merged["contexts"][name][0]
    cluster, cluster_file = _named(merged["clusters"], chosen.get("cluster"), "cluster", name)
    user: tuple[Fields, Path] = ({}, cluster_file)
    if chosen.get("user"):
        user = _named(merged["users"], chosen["user"], "user", name)
    authorities = _data(cluster, "certificate-authority", cluster_file)
    if not cluster.get("server"):
        raise UsageError(f"{cluster_file}: the cluster of context {name!r} has no server")
    return Access(
        str(cluster["server"]).rstrip("/"),
        _identity(*user),
        None if authorities is None else authorities.decode(errors="replace"),
        verifies=not cluster.get("insecure-skip-tls-verify"),
        server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
        context=name,
    )


def _named(known: Mapping[str, tuple[Fields, Path]], name: object, kind: str, context: str) -> tuple[Fields, Path]:
    if str(name) not in known:
        raise UsageError(f"the context {context!r} names the {kind} {name!r}, which no kubeconfig has: {_WAY_OUT}")
    return known[str(name)]


def _read(path: Path) -> Fields:
    import yaml  # type: ignore[import-untyped]  # noqa: PLC0415  # quick to do without

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the kubeconfig {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        # Not what the parser says: it may quote a secret.
        place = getattr(error, "problem_mark", None)
        line = "" if place is None else f" (line {place.line + 1})"
        raise UsageError(f"the kubeconfig {path} is no YAML{line}: {_WAY_OUT}") from error
    if not isinstance(document, Mapping):
        raise UsageError(f"the kubeconfig {path} holds no mapping: {_WAY_OUT}")
    return document


def _identity(user: Fields, path: Path) -> Identity:
    for name, instead in (("auth-provider", "an exec plugin"), ("username", "a token or a certificate")):
        if name in user:
            raise UsageError(f"{path}: {name} was removed from Kubernetes: use {instead}")
    token_file = user.get("tokenFile")
    return Identity(
        token=user.get("token"),
        token_file=None if token_file is None else _beside(path, token_file),
        certificate=_data(user, "client-certificate", path),
        key=_data(user, "client-key", path),
        command=user.get("exec"),
    )


def _data(fields: Fields, name: str, path: Path) -> bytes | None:
    """What `name-data` holds, or the file that `name` names."""
    if f"{name}-data" in fields:
        try:
            return base64.b64decode(str(fields[f"{name}-data"]), validate=True)
        except binascii.Error as error:
            raise UsageError(f"{path}: {name}-data is no base64") from error
    if not fields.get(name):
        return None
    file = _beside(path, fields[name])
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {name} cannot be read: {error}") from error


def _beside(path: Path, name: object) -> Path:
    """A path in a kubeconfig: relative ones start at its folder."""
    return path.parent / Path(str(name)).expanduser()


def _run_plugin(command: Fields) -> Fields:
    """The status that a credential plugin prints (client.authentication.k8s.io); SourceError without one."""
    version = str(command.get("apiVersion") or "client.authentication.k8s.io/v1")
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    added = {str(item["name"]): str(item["value"]) for item in command.get("env") or ()}
    argv = [str(command.get("command")), *map(str, command.get("args") or ())]
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=EXEC_LIMIT_S,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = "took too long" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        raise SourceError(f"the kubeconfig's credential plugin {argv[0]} failed: {reason}") from error
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode:
        raise SourceError(
            f"the kubeconfig's credential plugin {argv[0]} failed: exit status {done.returncode}"
            + (f": {said[-1]}" if said else "")
        )
    try:
        status = json.loads(done.stdout)["status"]
        if not isinstance(status, Mapping) or not {"token", "clientCertificateData"} & set(status):
            raise ValueError("no credentials")
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"the kubeconfig's credential plugin {argv[0]} printed no credentials") from error
    return status

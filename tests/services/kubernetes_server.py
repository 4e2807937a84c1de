"""A stand-in for a cluster: an API that keeps objects, controllers that do the least they must, and real exec.

Claims are folders. A container has no file system of its own: where a word of a command is the path of one of its
mounts, the claim's folder takes its place. No cluster is needed, and none is proved: what a real API server, scheduler
and CSI driver do beyond this is not tested.
"""

from __future__ import annotations

import json
import shutil
import ssl
import threading
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml  # type: ignore[import-untyped]

from tests.services.closing import Closing
from tests.services.kubernetes_exec import PROTOCOL, ExecSession, Fault

Fields = dict[str, Any]
MADE = "2026-01-02T03:04:05Z"
SNAPSHOTS = "snapshot.storage.k8s.io/v1"
TOOLS = "test/tools"
"""Annotation of a pod: the folder that its commands find programs in."""
PAGE = 2
"""An API server may give less than it is asked for: here it does."""

KINDS: dict[tuple[str, str], tuple[str, bool]] = {
    ("v1", "namespaces"): ("Namespace", False),
    ("v1", "pods"): ("Pod", True),
    ("v1", "persistentvolumeclaims"): ("PersistentVolumeClaim", True),
    ("v1", "configmaps"): ("ConfigMap", True),
    ("v1", "secrets"): ("Secret", True),
    ("v1", "events"): ("Event", True),
    ("apps/v1", "deployments"): ("Deployment", True),
    ("storage.k8s.io/v1", "storageclasses"): ("StorageClass", False),
    (SNAPSHOTS, "volumesnapshots"): ("VolumeSnapshot", True),
    (SNAPSHOTS, "volumesnapshotclasses"): ("VolumeSnapshotClass", False),
}
"""Kind and whether it has a namespace, by API version and plural."""


class _QuietServer(ThreadingHTTPServer):
    """A connection that ends early is no news in tests."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


class KubernetesServer(Closing):
    """An API on the loopback, in threads of this process. What tests set takes effect at once."""

    def __init__(self, folder: Path, token: str = "test-token-of-the-cluster") -> None:
        self.folder = folder
        self.token = token
        self.objects: dict[tuple[str, str, str, str], Fields] = {}
        """By API version, plural, namespace and name."""
        self.forbidden: set[tuple[str, str]] = set()
        """Method and plural that are answered with 403."""
        self.fault: Fault | None = None
        self.commands: list[list[str]] = []
        """All that were run, in order."""
        self.snapshot_error: str | None = None
        self.pod_status: Fields | None = None
        """How pods are that are made from now on; None for running."""
        self.stuck: set[str] = set()
        """Plurals of which nothing new gets ready."""
        self.without: set[str] = set()
        """API versions that this cluster has not."""
        self.tools: str | None = None
        """As the annotation `TOOLS`, for pods that have none."""
        self.answers_all_with: bytes | None = None
        """What an HTTP server says that is no API."""
        self.running = 0
        """Commands that run just now."""
        self._count = 0
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            cluster = server

        self._http = _QuietServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self.config()))
        self.kubeconfig.chmod(0o600)

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def config(self, user: Mapping[str, Any] | None = None) -> Fields:
        """A kubeconfig for it."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "users": [{"name": "tester", "user": dict(user or {"token": self.token})}],
            "contexts": [{"name": "test", "context": {"cluster": "here", "user": "tester"}}],
            "current-context": "test",
        }

    def speak_tls(self, certificate: Path, key: Path, clients: Path) -> None:
        """From now on only with TLS, and with clients that have that certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(clients))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)

    def close(self) -> None:
        """End it. Idempotent."""
        self._http.shutdown()
        self._http.server_close()

    # -- what tests put into it ---------------------------------------------------------------------------------

    def add(self, api_version: str, plural: str, name: str, body: Mapping[str, Any], namespace: str = "prod") -> Fields:
        """Make an object, as the API does."""
        kind, is_namespaced = KINDS[api_version, plural]
        metadata = {"name": name, **({"namespace": namespace} if is_namespaced else {}), **body.get("metadata", {})}
        return self.create(api_version, plural, {"kind": kind, **body, "metadata": metadata})

    def add_claim(self, name: str, namespace: str = "prod", labels: Mapping[str, str] | None = None) -> Path:
        """A bound claim; the folder that it is."""
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "resources": {"requests": {"storage": "1Gi"}},
        }
        body = {"metadata": {"labels": dict(labels or {})}, "spec": spec}
        self.add("v1", "persistentvolumeclaims", name, body, namespace)
        return self.claim_folder(namespace, name)

    def add_pod(self, name: str, mounts: Mapping[str, str], namespace: str = "prod", **metadata: Any) -> Fields:
        """A running pod with one container `main` that has claims mounted, by name, at paths."""
        container = {
            "name": "main",
            "image": "shop:1",
            "volumeMounts": [{"name": f"v-{claim}", "mountPath": path} for claim, path in mounts.items()],
        }
        volumes = [{"name": f"v-{claim}", "persistentVolumeClaim": {"claimName": claim}} for claim in mounts]
        spec = {"containers": [container], "volumes": volumes}
        return self.add("v1", "pods", name, {"metadata": metadata, "spec": spec}, namespace)

    def add_csi(self) -> None:
        """What makes snapshots possible: a driver with a class of its own."""
        self.add("storage.k8s.io/v1", "storageclasses", "fast", {"provisioner": "csi.example.com"})
        self.add(SNAPSHOTS, "volumesnapshotclasses", "fast-snapshots", {"driver": "csi.example.com"})

    def claim_folder(self, namespace: str, name: str) -> Path:
        """The folder that a claim is."""
        return self.folder / "claims" / namespace / name

    def names(self, plural: str) -> list[str]:
        """All objects of a kind."""
        return sorted(key[3] for key in self.objects if key[1] == plural)

    # -- what the API does --------------------------------------------------------------------------------------

    def create(self, api_version: str, plural: str, body: Fields) -> Fields:
        """Keep an object, and do at once what controllers do sooner or later."""
        with self._lock:
            self._count += 1
            metadata = body["metadata"]
            namespace = metadata.get("namespace", "")
            metadata.setdefault("creationTimestamp", MADE)
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata["resourceVersion"] = str(self._count)
            metadata["managedFields"] = [{"manager": "kubectl", "operation": "Update", "time": MADE}]
            made = {"apiVersion": api_version, **body}
            self.objects[api_version, plural, namespace, metadata["name"]] = made
            if plural not in self.stuck:
                self._control(plural, namespace, made)
            return made

    def _control(self, plural: str, namespace: str, made: Fields) -> None:
        name = made["metadata"]["name"]
        if plural == "pods":
            running = {"name": "main", "ready": True, "state": {"running": {"startedAt": MADE}}}
            statuses = [{**running, "name": container["name"]} for container in made["spec"]["containers"]]
            made.setdefault("status", self.pod_status or {"phase": "Running", "containerStatuses": statuses})
        elif plural == "persistentvolumeclaims":
            folder = self.claim_folder(namespace, name)
            source = made["spec"].get("dataSource")
            if source is not None:
                _copy(self.folder / "snapshots" / namespace / source["name"], folder)
            folder.mkdir(parents=True, exist_ok=True)
            made["spec"]["volumeName"] = f"pv-{name}"
            made["status"] = {"phase": "Bound"}
        elif plural == "volumesnapshots" and self.snapshot_error is not None:
            made["status"] = {"error": {"message": self.snapshot_error}}
        elif plural == "volumesnapshots":
            claim = made["spec"]["source"]["persistentVolumeClaimName"]
            _copy(self.claim_folder(namespace, claim), self.folder / "snapshots" / namespace / name)
            made["status"] = {"readyToUse": True, "creationTime": MADE, "restoreSize": "1Gi"}

    def words(self, namespace: str, pod: str, container: str, argv: list[str]) -> tuple[list[str], dict[str, str]]:
        """A command as it is run here, and its environment; KeyError if there is no such container."""
        found = self.objects["v1", "pods", namespace, pod]
        own = {one["name"]: one for one in found["spec"]["containers"]}[container]
        claims = {one["name"]: one["persistentVolumeClaim"]["claimName"] for one in found["spec"].get("volumes") or ()}
        places = {
            mount["mountPath"]: str(self.claim_folder(namespace, claims[mount["name"]]))
            for mount in own.get("volumeMounts") or ()
        }
        tools = (found["metadata"].get("annotations") or {}).get(TOOLS, self.tools)
        return [places.get(word, word) for word in argv], {} if tools is None else {"PATH": tools}


def kubelet_root(folder: Path, claim: Path) -> Path:
    """A kubelet's folder in which the pod `shop-0` has the claim mounted, as a CSI driver does it."""
    root = folder / "kubelet"
    plugin = root / "pods/pod-uid-0/volumes/kubernetes.io~csi/pv-data"
    plugin.mkdir(parents=True)
    (plugin / "mount").symlink_to(claim)
    return root


class _Handler(BaseHTTPRequestHandler):
    """One connection to the API."""

    protocol_version = "HTTP/1.1"
    cluster: KubernetesServer

    def do_GET(self) -> None:  # the name that http.server calls
        if self._is_known():
            path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            if path[-1] == "exec":
                self._exec(path)
            else:
                self._answer(*self._get(path))

    def do_POST(self) -> None:
        body = self._body()
        if self._is_known():
            api_version, plural, namespace, _ = self._place()
            if self._is_allowed("POST", plural):
                key = (api_version, plural, namespace, body["metadata"]["name"])
                if key in self.cluster.objects:
                    self._refuse(409, f'{plural} "{key[3]}" already exists')
                else:
                    self._answer(201, self.cluster.create(api_version, plural, body))

    def do_DELETE(self) -> None:
        self._body()
        if self._is_known():
            key = self._place()
            if self._is_allowed("DELETE", key[1]):
                found = self.cluster.objects.pop(key, None)
                if found is None:
                    self._refuse(404, f'{key[1]} "{key[3]}" not found')
                else:
                    self._answer(200, found)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _get(self, path: list[str]) -> tuple[int, Fields]:
        without = self.cluster.without
        groups = {version for version, _ in KINDS if version not in without}
        if path == ["apis"]:
            listed = [
                {"name": version.partition("/")[0], "preferredVersion": {"groupVersion": version}}
                for version in sorted(groups - {"v1"})
            ]
            return 200, {"kind": "APIGroupList", "groups": listed}
        version = "/".join(path[1:3]) if path[0] == "apis" else path[1]
        if version not in groups:
            return 404, _failure(404, "the server could not find the requested resource")
        if len(path) == (2 if path[0] == "api" else 3):
            resources: list[Fields] = [
                {"name": plural, "kind": kind, "namespaced": namespaced, "verbs": ["create", "delete", "get", "list"]}
                for (one, plural), (kind, namespaced) in KINDS.items()
                if one == version
            ]
            resources.append({"name": "pods/exec", "kind": "PodExecOptions", "namespaced": True, "verbs": ["create"]})
            return 200, {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        key = self._place()
        if ("GET", key[1]) in self.cluster.forbidden:
            return 403, _failure(403, f'{key[1]} is forbidden: User "tester" cannot list it')
        if key[3]:
            found = self.cluster.objects.get(key)
            return (200, found) if found else (404, _failure(404, f'{key[1]} "{key[3]}" not found'))
        return 200, self._list(key)

    def _list(self, key: tuple[str, str, str, str]) -> Fields:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        items = [item for place, item in sorted(self.cluster.objects.items()) if place[:3] == key[:3]]
        items = [item for item in items if _matches(item, asked.get("labelSelector", ""))]
        start = int(asked.get("continue", 0))
        # Items of a list do not say their kind, with a real API neither.
        page = [
            {name: value for name, value in item.items() if name not in ("kind", "apiVersion")}
            for item in items[start : start + PAGE]
        ]
        more = {"continue": str(start + PAGE)} if len(items) > start + PAGE else {}
        return {"kind": "List", "metadata": more, "items": page}

    def _place(self) -> tuple[str, str, str, str]:
        """API version, plural, namespace and name in the path."""
        path = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        version, rest = ("/".join(path[1:3]), path[3:]) if path[0] == "apis" else (path[1], path[2:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        return version, rest[0], namespace, rest[1] if len(rest) > 1 else ""

    def _exec(self, path: list[str]) -> None:
        asked = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        argv, container = asked["command"], asked["container"][0]
        offered = self.headers.get("Sec-WebSocket-Protocol", "")
        if PROTOCOL not in [part.strip() for part in offered.split(",")]:
            self._refuse(400, "no protocol that is known was offered")
            return
        if not self._is_allowed("GET", "pods/exec"):
            return
        try:
            words, environment = self.cluster.words(path[3], path[5], container, argv)
        except KeyError:
            self._refuse(404, f'pods "{path[5]}" not found')
            return
        self.cluster.commands.append(argv)
        fault = self.cluster.fault
        session = ExecSession(self, words, fault if fault is not None and fault.concerns(argv) else None)
        self.cluster.running += 1
        try:
            session.run(environment, has_input=asked.get("stdin") == ["true"])
        finally:
            self.cluster.running -= 1
            self.close_connection = True

    def _is_known(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {self.cluster.token}":
            return True
        self._refuse(401, "Unauthorized")
        return False

    def _is_allowed(self, method: str, plural: str) -> bool:
        if (method, plural) not in self.cluster.forbidden:
            return True
        self._refuse(403, f'{plural} is forbidden: User "tester" cannot do this')
        return False

    def _body(self) -> Fields:
        body: Fields = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        return body

    def _refuse(self, status: int, message: str) -> None:
        self._answer(status, _failure(status, message))

    def _answer(self, status: int, document: Mapping[str, Any]) -> None:
        data = self.cluster.answers_all_with or json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _failure(code: int, message: str) -> Fields:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}


def _matches(item: Mapping[str, Any], selector: str) -> bool:
    labels = item["metadata"].get("labels") or {}
    for part in filter(None, selector.split(",")):
        name, equals, value = part.partition("=")
        if name not in labels or (equals and labels[name] != value.lstrip("=")):
            return False
    return True


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, symlinks=True)

"""Objects that a run makes in the cluster, and removes again: snapshots, claims, helper pods.

Each is labelled, so that what a killed run has left is found. A helper pod ends by itself after a day.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from limpet.contracts.snapshot_names import is_leftover, is_made_here, new_snapshot_name
from limpet.errors import SourceError

from limpet_source_kubernetes.api import ApiError, Cluster, object_path
from limpet_source_kubernetes.container import Container
from limpet_source_kubernetes.settings import DAY_S, Settings
from limpet_source_kubernetes.telling import Telling

SNAPSHOT_API = "snapshot.storage.k8s.io/v1"
LABEL, OWNER = "limpet.backup/run", "limpet.backup/owner"
VOLUME_FOLDER = "/volume"
"""Where a helper pod has its volume."""
POLL_S = 0.5
_HOPELESS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CrashLoopBackOff"}
Fields = Mapping[str, Any]


class _Kind(Enum):
    """What is made, in the order of removal: each is in use by the one before it. API version, plural, kind."""

    POD = ("v1", "pods", "Pod")
    CLAIM = ("v1", "persistentvolumeclaims", "PersistentVolumeClaim")
    SNAPSHOT = (SNAPSHOT_API, "volumesnapshots", "VolumeSnapshot")

    def path(self, namespace: str, name: str = "") -> str:
        """Of one, or of all, in a namespace."""
        return object_path(self.value[0], namespace, self.value[1], name)


class Temporaries:
    """What one run has made. `remove` takes all of it away."""

    def __init__(self, cluster: Cluster, settings: Settings, telling: Telling) -> None:
        self._cluster = cluster
        self._settings = settings
        self._telling = telling
        self._run = uuid.uuid4().hex[:12]
        self._count = 0
        self._made: list[tuple[_Kind, str, str]] = []

    def snapshot(self, namespace: str, claim: str, snapshot_class: str | None) -> str:
        """The name of a VolumeSnapshot of the claim, once it was cut; it may not be ready to use yet."""
        spec: dict[str, Any] = {"source": {"persistentVolumeClaimName": claim}}
        if snapshot_class is not None:
            spec["volumeSnapshotClassName"] = snapshot_class
        name = self._create(_Kind.SNAPSHOT, namespace, spec)
        self._wait_for(_Kind.SNAPSHOT.path(namespace, name), f"the snapshot of {namespace}/{claim}", _is_cut)
        return name

    def claim_of_snapshot(self, namespace: str, snapshot: str, original: Fields) -> str:
        """The name of a claim that holds what the snapshot does, made like the original."""
        what = f"the snapshot {namespace}/{snapshot}"
        ready = self._wait_for(_Kind.SNAPSHOT.path(namespace, snapshot), what, _is_ready)
        asked = original["spec"]
        size = (ready.get("status") or {}).get("restoreSize") or asked["resources"]["requests"]["storage"]
        spec = {
            "accessModes": asked["accessModes"],
            "storageClassName": asked.get("storageClassName"),
            "resources": {"requests": {"storage": size}},
            "dataSource": {"apiGroup": SNAPSHOT_API.partition("/")[0], "kind": "VolumeSnapshot", "name": snapshot},
        }
        return self._create(_Kind.CLAIM, namespace, spec)

    def helper(self, namespace: str, claim: str, *, is_read_only: bool) -> Container:
        """A running pod of ours that has the claim at `VOLUME_FOLDER`."""
        container = {
            "name": "limpet",
            "image": self._settings.helper_image,
            "command": ["sleep", str(DAY_S)],
            "volumeMounts": [{"name": "volume", "mountPath": VOLUME_FOLDER, "readOnly": is_read_only}],
            "securityContext": {"runAsUser": 0},
        }
        spec = {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": DAY_S,
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [container],
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim}}],
            "tolerations": [{"operator": "Exists"}],
        }
        name = self._create(_Kind.POD, namespace, spec)
        self._wait_for(_Kind.POD.path(namespace, name), f"the helper pod {namespace}/{name} for {claim}", _pod_runs)
        return Container(self._cluster, namespace, name, "limpet")

    def remove(self) -> None:
        """Take away all that was made; what resists is told with its name. Idempotent."""
        made, self._made = self._made, []
        for kind in _Kind:
            for namespace, name in [(item[1], item[2]) for item in made if item[0] is kind]:
                self._delete(kind, namespace, name)

    def remove_leftovers(self, namespace: str) -> None:
        """Take away what killed runs have left in the namespace: of this machine at once, of others when it is old."""
        for kind in _Kind:
            try:
                found = list(self._cluster.list(kind.path(namespace), LABEL))
            except ApiError:  # No snapshots here, or no right to list them: then there is nothing of ours.
                continue
            for item in found:
                self._remove_leftover(kind, namespace, item["metadata"])

    def _remove_leftover(self, kind: _Kind, namespace: str, metadata: Fields) -> None:
        if metadata["labels"][LABEL] == self._run or "deletionTimestamp" in metadata:
            return
        owner, name = str((metadata.get("annotations") or {}).get(OWNER)), str(metadata["name"])
        is_dead = is_leftover(owner) if is_made_here(owner) else _age_s(metadata) > self._settings.leftovers_after_s
        if is_dead and self._delete(kind, namespace, name):
            self._telling.warning(f"removed {kind.value[1]} {namespace}/{name}, which a run that was killed had left")

    def _delete(self, kind: _Kind, namespace: str, name: str) -> bool:
        """Whether it is gone; else it is told."""
        try:
            self._cluster.delete(kind.path(namespace, name), grace_s=0)
        except ApiError as error:
            plural = kind.value[1]
            self._telling.warning(
                f"{plural} {namespace}/{name} could not be removed: {error}; "
                f"the next run will, or: kubectl -n {namespace} delete {plural} {name}"
            )
            return False
        return True

    def _create(self, kind: _Kind, namespace: str, spec: Fields) -> str:
        self._count += 1
        name = f"limpet-{self._run}-{self._count}"
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": {LABEL: self._run},
            "annotations": {OWNER: new_snapshot_name()},
        }
        body = {"apiVersion": kind.value[0], "kind": kind.value[2], "metadata": metadata, "spec": spec}
        self._made.append((kind, namespace, name))  # first: an answer that is lost may have been a yes
        self._cluster.create(kind.path(namespace), body)
        return name

    def _wait_for(self, path: str, what: str, is_so: Callable[[Fields], str | None]) -> Fields:
        """The object when `is_so` has nothing more to wait for; SourceError if it takes too long, or never will be."""
        deadline = time.monotonic() + self._settings.wait_s
        while True:
            found = self._cluster.get(path)
            waiting = is_so(found)
            if waiting is None:
                return found
            if time.monotonic() > deadline:
                limit = f"{self._settings.wait_s:g} s"
                raise SourceError(f"{what} is not ready after {limit}: {waiting} (-o kubernetes.wait gives it more)")
            time.sleep(POLL_S)


def _is_cut(snapshot: Fields) -> str | None:
    status = snapshot.get("status") or {}
    _refuse_failed(snapshot, status)
    return None if status.get("creationTime") or status.get("readyToUse") else "it was not cut yet"


def _is_ready(snapshot: Fields) -> str | None:
    status = snapshot.get("status") or {}
    _refuse_failed(snapshot, status)
    return None if status.get("readyToUse") else "it cannot be used yet"


def _refuse_failed(snapshot: Fields, status: Fields) -> None:
    if status.get("error"):
        name = f"{snapshot['metadata']['namespace']}/{snapshot['metadata']['name']}"
        raise SourceError(f"the snapshot {name} failed: {status['error'].get('message') or 'no reason given'}")


def _pod_runs(pod: Fields) -> str | None:
    status = pod.get("status") or {}
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    reasons = [f"phase {status.get('phase')}"]
    reasons += [
        f"{condition.get('reason')}: {condition.get('message')}"
        for condition in status.get("conditions") or ()
        if condition.get("status") == "False" and condition.get("message")
    ]
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        reasons += [f"{waiting.get('reason')}: {waiting.get('message') or ''}"] if waiting else []
        if waiting.get("reason") in _HOPELESS:
            raise SourceError(
                f"the helper pod {name} does not start: {reasons[-1]} (-o kubernetes.helper_image names another image)"
            )
    if status.get("phase") in ("Failed", "Succeeded"):
        raise SourceError(f"the helper pod {name} ended: {status.get('reason') or reasons[-1]}")
    return None if status.get("phase") == "Running" else "; ".join(reasons)


def _age_s(metadata: Fields) -> float:
    try:
        made = datetime.fromisoformat(str(metadata["creationTimestamp"]))
    except (KeyError, ValueError):
        return 0.0
    return (datetime.now(UTC) - made).total_seconds()

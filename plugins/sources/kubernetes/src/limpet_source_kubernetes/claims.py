"""Which claims are meant, which pods use them, and by which way the content of each is reached."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from limpet.errors import SourceError

from limpet_source_kubernetes.address import Address, claim_path, is_name
from limpet_source_kubernetes.api import ApiError, Cluster, NoObjectError, object_path
from limpet_source_kubernetes.container import Container, is_running, mount_of_claim, volume_of_claim
from limpet_source_kubernetes.podhooks import PodHooks
from limpet_source_kubernetes.selection import Chooser
from limpet_source_kubernetes.settings import Method, Settings
from limpet_source_kubernetes.telling import Telling
from limpet_source_kubernetes.temporary import LABEL, SNAPSHOT_API, VOLUME_FOLDER, Temporaries
from limpet_source_kubernetes.volume import ContainerVolume, LostVolume, NodeVolume, Volume

Fields = Mapping[str, Any]
_BLOCK = "Block"


class _Step(Protocol):
    """Something to be done for a claim: it gives the next step, or the volume at last."""

    def __call__(self) -> _Step | Volume: ...


def _next(path: str, step: _Step | Volume) -> _Step | Volume:
    """The step done; a volume that tells why, where it fails."""
    if isinstance(step, Volume):
        return step
    try:
        return step()
    except SourceError as error:
        return LostVolume(path, error)


class Claims:
    """The claims of one run as volumes to read, with the hooks of the pods that use them."""

    def __init__(
        self, cluster: Cluster, settings: Settings, chooser: Chooser, telling: Telling, temporaries: Temporaries
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._chooser = chooser
        self._telling = telling
        self._temporaries = temporaries
        self._pods: dict[str, list[Fields]] = {}
        self._hooks: dict[tuple[str, str], PodHooks] = {}

    @property
    def hooks(self) -> list[PodHooks]:
        """Those of all pods that are concerned."""
        return list(self._hooks.values())

    def volumes(self, addresses: Sequence[Address]) -> list[Volume]:
        """What is to be read; a claim that cannot be is there too, and fails once it is asked for its folders."""
        steps: dict[str, _Step | Volume] = {}
        for address in addresses:
            for name, claim in self._meant(address):
                path = claim_path(address.namespace, name)
                if path not in steps:
                    steps[path] = self._first_step(path, claim)
        # Each step for all: a pod's hooks know of all its volumes before the first of them is cut.
        while any(callable(step) for step in steps.values()):
            steps = {path: _next(path, step) for path, step in steps.items()}
        return [step for step in steps.values() if isinstance(step, Volume)]

    def hook_all_pods(self, namespace: str) -> None:
        """The hooks of all its pods run, those of pods without a claim at once; SourceError if one fails."""
        for pod in self._running_pods(namespace):
            hooks = self._hooks_of(pod)
            if hooks is not None and hooks.is_alone:
                hooks.before()

    def _meant(self, address: Address) -> Iterator[tuple[str, Fields | SourceError]]:
        """Name and object of each claim that an address means, or why there is none."""
        kind = object_path("v1", address.namespace, "persistentvolumeclaims", address.claim or "")
        if address.claim is not None:
            try:
                yield address.claim, self._cluster.get(kind)
            except NoObjectError as error:
                path = claim_path(address.namespace, address.claim)
                problem = SourceError(f"{address}: there is no such claim: {error}", targets=[path])
                problem.__cause__ = error
                yield address.claim, problem
            return
        found = [
            claim
            for claim in self._cluster.list(kind, address.selector)
            if LABEL not in (claim["metadata"].get("labels") or {})
        ]
        if not found and address.selector is not None:
            raise SourceError(f"{address}: no claim matches")
        for claim in sorted(found, key=lambda claim: str(claim["metadata"]["name"])):
            name = str(claim["metadata"]["name"])
            if not is_name(name):
                raise SourceError(f"{address}: the cluster names a claim {name!r}")
            if (claim.get("status") or {}).get("phase") == "Pending":
                self._telling.warning(f"claim {address.namespace}/{name} has no volume yet: nothing to save")
                continue
            yield name, claim

    def _first_step(self, path: str, claim: Fields | SourceError) -> _Step | Volume:
        return LostVolume(path, claim) if isinstance(claim, SourceError) else partial(self._plan, path, claim)

    def _plan(self, path: str, claim: Fields) -> _Step:
        """What is to be done next for a claim, up to its volume; SourceError if nothing can be."""
        namespace, name = str(claim["metadata"]["namespace"]), str(claim["metadata"]["name"])
        shown = f"claim {namespace}/{name}"
        if claim["spec"].get("volumeMode") == _BLOCK:
            raise SourceError(f"{shown} is a block device without files: save it on its node with device://")
        if not claim["spec"].get("volumeName"):
            raise SourceError(f"{shown} has no volume yet (phase {(claim.get('status') or {}).get('phase')})")
        method = self._settings.method
        users = [pod for pod in self._running_pods(namespace) if volume_of_claim(pod, name) is not None]
        if method in (Method.AUTO, Method.NODE):
            real_path = self._node_path(users, str(claim["spec"]["volumeName"]))
            if real_path is not None:
                return self._node_plan(path, real_path, users)
            if method is Method.NODE:
                raise SourceError(
                    f"{shown}: no running pod has it mounted on this machine (in {self._settings.kubelet_root}/pods): "
                    f"run Limpet on the pod's node, or use another -o kubernetes.method"
                )
        if method in (Method.AUTO, Method.SNAPSHOT):
            can_be, snapshot_class = self._snapshot_class(claim)
            if can_be or method is Method.SNAPSHOT:
                return self._snapshot_plan(path, claim, snapshot_class, users)
        return self._exec_plan(path, namespace, name, users)

    # -- the three ways -----------------------------------------------------------------------------------------

    def _node_plan(self, path: str, real_path: bytes, users: Sequence[Fields]) -> _Step:
        self._telling.note(f"{path}: real files in {os.fsdecode(real_path)}")
        before = self._before(users)
        return lambda: NodeVolume(path, self._chooser, self._telling, real_path, before)

    def _snapshot_plan(self, path: str, claim: Fields, snapshot_class: str | None, users: Sequence[Fields]) -> _Step:
        namespace, name = str(claim["metadata"]["namespace"]), str(claim["metadata"]["name"])
        self._telling.note(f"{path}: a CSI snapshot")
        before, after = self._before(users), self._after(users)

        def cut() -> _Step:
            before()
            snapshot = self._temporaries.snapshot(namespace, name, snapshot_class)
            after()
            return partial(make, snapshot)

        def make(snapshot: str) -> Volume:
            copy = self._temporaries.claim_of_snapshot(namespace, snapshot, claim)
            container = self._temporaries.helper(namespace, copy, is_read_only=True)
            return ContainerVolume(path, self._chooser, self._telling, container, VOLUME_FOLDER)

        return cut

    def _exec_plan(self, path: str, namespace: str, name: str, users: Sequence[Fields]) -> _Step:
        for pod in users:
            mount = mount_of_claim(pod, name, self._settings.container)
            if mount is not None:
                container = Container(self._cluster, namespace, str(pod["metadata"]["name"]), mount[0])
                self._telling.note(f"{path}: tar in {container}")
                before, after = self._before(users), self._after(users)
                return lambda: ContainerVolume(
                    path, self._chooser, self._telling, container, mount[1], before=before, after=after
                )
        if users:
            pods = ", ".join(str(pod["metadata"]["name"]) for pod in users)
            asked = "" if self._settings.container is None else f" named {self._settings.container}"
            raise SourceError(
                f"claim {namespace}/{name}: no running container{asked} of {pods} has all of it mounted: "
                f"use -o kubernetes.method=snapshot"
            )

        def make() -> Volume:
            self._telling.note(f"{path}: tar in a helper pod, for no pod uses it")
            container = self._temporaries.helper(namespace, name, is_read_only=True)
            return ContainerVolume(path, self._chooser, self._telling, container, VOLUME_FOLDER)

        return make

    def _node_path(self, users: Sequence[Fields], volume: str) -> bytes | None:
        """Where the kubelet of this machine has the volume mounted for one of the pods."""
        for pod in users:
            folder = os.path.join(self._settings.kubelet_root, "pods", str(pod["metadata"].get("uid")), "volumes")
            for plugin in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
                path = os.path.join(folder, plugin, volume)
                if plugin == "kubernetes.io~csi":
                    path = os.path.join(path, "mount")
                if os.path.isdir(path):
                    return os.fsencode(os.path.realpath(path))
        return None

    def _snapshot_class(self, claim: Fields) -> tuple[bool, str | None]:
        """Whether a CSI snapshot can be taken, as far as we may know, and with which class."""
        if self._settings.snapshot_class is not None:
            return True, self._settings.snapshot_class
        storage_class = claim["spec"].get("storageClassName")
        if not storage_class:
            return False, None
        try:
            driver = self._cluster.get(f"/apis/storage.k8s.io/v1/storageclasses/{storage_class}").get("provisioner")
            classes = [
                (item.get("metadata") or {})
                for item in self._cluster.list(f"/apis/{SNAPSHOT_API}/volumesnapshotclasses")
                if item.get("driver") == driver
            ]
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            return False, None
        default = "snapshot.storage.kubernetes.io/is-default-class"
        classes.sort(key=lambda one: ((one.get("annotations") or {}).get(default) != "true", str(one.get("name"))))
        return (True, str(classes[0]["name"])) if classes else (False, None)

    # -- pods and their hooks -----------------------------------------------------------------------------------

    def _running_pods(self, namespace: str) -> list[Fields]:
        if namespace not in self._pods:
            found = self._cluster.list(object_path("v1", namespace, "pods"))
            pods = [pod for pod in found if is_running(pod) and LABEL not in (pod["metadata"].get("labels") or {})]
            pods.sort(key=lambda pod: str(pod["metadata"]["name"]))
            self._pods[namespace] = pods
        return self._pods[namespace]

    def _hooks_of(self, pod: Fields) -> PodHooks | None:
        if not self._settings.hooks:
            return None
        key = str(pod["metadata"]["namespace"]), str(pod["metadata"]["name"])
        if key not in self._hooks:
            self._hooks[key] = PodHooks.of_pod(self._cluster, pod, self._telling)
        return self._hooks[key]

    def _before(self, users: Sequence[Fields]) -> Callable[[], None]:
        """Runs what must run before one more volume of the pods is read."""
        hooks = [found for pod in users if (found := self._hooks_of(pod)) is not None]
        for one in hooks:
            one.expect()

        def before() -> None:
            for one in hooks:
                one.before()

        return before

    def _after(self, users: Sequence[Fields]) -> Callable[[], None]:
        """Tells that one volume of the pods was read."""
        hooks = [found for pod in users if (found := self._hooks_of(pod)) is not None]

        def after() -> None:
            for one in hooks:
                one.read()

        return after

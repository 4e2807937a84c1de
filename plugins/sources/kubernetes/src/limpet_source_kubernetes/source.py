"""`KubernetesSource`: volumes and manifests of a cluster as folders of a snapshot."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Self

from limpet.contracts.destination import Destination
from limpet.contracts.options import Option
from limpet.contracts.source import Entry, Folder, Source, SourceRequest, StatLike, Target
from limpet.errors import SourceError, UsageError

from limpet_source_kubernetes.address import FORMS, Address
from limpet_source_kubernetes.api import Cluster
from limpet_source_kubernetes.claims import Claims
from limpet_source_kubernetes.destination import KubernetesDestination
from limpet_source_kubernetes.kubeconfig import load_access
from limpet_source_kubernetes.listing import made_folder
from limpet_source_kubernetes.manifests import NamespaceManifests
from limpet_source_kubernetes.selection import Chooser
from limpet_source_kubernetes.settings import OPTIONS, Manifests, Settings
from limpet_source_kubernetes.telling import Telling
from limpet_source_kubernetes.temporary import Temporaries
from limpet_source_kubernetes.volume import LostVolume, Volume


class KubernetesSource(Source):
    """Claims by name or selector, and whole namespaces."""

    contract_version: ClassVar[int] = 1
    options: ClassVar[Sequence[Option]] = OPTIONS
    destination: ClassVar[type[Destination] | None] = KubernetesDestination

    def __init__(self, request: SourceRequest, addresses: Sequence[Address], settings: Settings) -> None:
        self._addresses = list(dict.fromkeys(addresses))
        self._settings = settings
        self._telling = Telling(request.reporter)
        self._cluster = Cluster(load_access(settings.kubeconfig, settings.context))
        self._temporaries = Temporaries(self._cluster, settings, self._telling)
        self._claims = Claims(self._cluster, settings, Chooser(request.selection), self._telling, self._temporaries)
        self._manifests: list[NamespaceManifests] = []
        self._volumes: list[Volume] = []
        self._lock = threading.Lock()
        self._targets: list[Target] | None = None
        self._readers: dict[bytes, Callable[[], Iterator[Folder]]] = {}
        self._is_closed = False

    @classmethod
    def open(cls, request: SourceRequest) -> Self:
        """The source; UsageError for an address, option or kubeconfig that makes no sense. Nothing is asked yet."""
        if not request.targets:
            raise UsageError(f"nothing of Kubernetes to save: name {FORMS}")
        addresses = [Address.parse(target) for target in request.targets]
        return cls(request, addresses, Settings.of(request.options))

    @property
    def snapshot_paths(self) -> Sequence[str]:
        return list(dict.fromkeys(address.snapshot_path for address in self._addresses))

    @property
    def error_count(self) -> int:
        return self._telling.error_count

    def targets(self) -> Sequence[Target]:
        """A folder for each claim, and one for the manifests of each namespace that is saved whole.

        Snapshots are taken here, helper pods started: all claims as they are at about the same time.
        """
        with self._lock:
            if self._targets is None:
                self._targets = self._prepare()
            return self._targets

    def folders(self, target: Target) -> Iterator[Folder]:
        return self._readers[target.path]()

    def folder_stat(self, path: bytes) -> StatLike | None:
        """The folders above are made up, and as old as the namespace: unchanged as long as it lives."""
        namespace = os.fsdecode(path).split("/")[2:3]
        made_ns = max(
            (one.made_ns for one in self._manifests if [one.namespace] == namespace or not namespace), default=0
        )
        return made_folder(made_ns)

    def finish(self) -> None:
        """SourceError if a command did not end well, or a hook of a pod failed."""
        problems = []
        for volume in self._volumes:
            try:
                volume.finish()
            except SourceError as error:
                problems.append((str(error), list(error.targets) or [volume.path]))
        if problems:
            texts = list(dict.fromkeys(text for text, _ in problems))
            raise SourceError("; ".join(texts), targets=[path for _, paths in problems for path in paths])
        for hooks in self._claims.hooks:
            hooks.after()

    def close(self) -> None:
        """Stop all commands, run the hooks that are still to run, remove what was made in the cluster."""
        if self._is_closed:
            return
        self._is_closed = True
        for volume in self._volumes:
            volume.close()
        for hooks in self._claims.hooks:
            try:
                hooks.after()
            except SourceError as error:
                self._telling.warning(str(error))
        self._temporaries.remove()
        self._cluster.close()

    def _prepare(self) -> list[Target]:
        targets = []
        whole = [address.namespace for address in self._addresses if address.is_namespace]
        for namespace in dict.fromkeys(address.namespace for address in self._addresses):
            manifests = NamespaceManifests(self._cluster, namespace, self._settings, self._telling)
            manifests.look_up()
            self._manifests.append(manifests)
            self._temporaries.remove_leftovers(namespace)
            if namespace in whole and self._settings.manifests is not Manifests.NONE:
                path = manifests.path.encode()
                targets.append(Target(path, Entry(b"manifests", made_folder(manifests.made_ns), made=True)))
                self._readers[path] = manifests.folders
        for volume in self._claims.volumes(self._addresses):
            target, usable = _entered(volume)
            self._volumes.append(usable)
            self._readers[target.path] = usable.folders
            targets.append(target)
        for namespace in whole:
            self._claims.hook_all_pods(namespace)
        return targets


def _entered(volume: Volume) -> tuple[Target, Volume]:
    """The volume's root and the volume, or what stands for one that cannot be entered."""
    try:
        return volume.target(), volume
    except SourceError as error:
        lost = LostVolume(volume.path, error)
        return lost.target(), lost

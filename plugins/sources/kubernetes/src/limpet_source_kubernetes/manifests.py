"""What a namespace consists of: every object that can be listed, as files that `kubectl apply -f` takes.

Without what the cluster itself writes into objects, so that a file stays the same as long as nobody changes the object.
Secrets are in them as they are: the repository is encrypted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from io import BytesIO
from stat import S_IFREG
from typing import Any, BinaryIO

from limpet.contracts.source import Entry, Folder, MadeStat
from limpet.errors import SourceError

from limpet_source_kubernetes.address import manifests_path
from limpet_source_kubernetes.api import ApiError, Cluster, object_path
from limpet_source_kubernetes.listing import made_folder
from limpet_source_kubernetes.settings import Manifests, Settings
from limpet_source_kubernetes.telling import Telling
from limpet_source_kubernetes.temporary import LABEL

_NOISE = ("managedFields", "resourceVersion", "uid", "generation", "selfLink", "creationTimestamp")
"""Of the metadata; with `status` all that is the cluster's own, and that a new cluster would not take."""
_FILE = S_IFREG | 0o600  # secrets among them
Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of objects. `full_name` is `deployments.apps`, or `pods` without a group."""

    full_name: str
    api_version: str
    plural: str
    kind: str


class NamespaceManifests:
    """The manifests of one namespace, as folders of made-up files."""

    def __init__(self, cluster: Cluster, namespace: str, settings: Settings, telling: Telling) -> None:
        self.namespace = namespace
        self.path = manifests_path(namespace)
        self.made_ns = 0
        """When the namespace was made; 0 where we may not know."""
        self._cluster = cluster
        self._form = settings.manifests
        self._without = settings.without_resources
        self._telling = telling
        self._own: Fields = {}

    def look_up(self) -> None:
        """Look at the namespace itself; SourceError if it is not there."""
        try:
            self._own = self._cluster.get(f"/api/v1/namespaces/{self.namespace}")
        except ApiError as error:
            if error.status != 403:
                raise
        self.made_ns = _made_ns(self._own)

    def folders(self) -> Iterator[Folder]:
        """A folder for each kind of which there are objects."""
        found: dict[bytes, list[Entry]] = {}
        if self._own:
            found[b"namespaces"] = [self._entry(self._own, Resource("namespaces", "v1", "namespaces", "Namespace"))]
        refused = 0
        resources = self._resources()
        for resource in resources:
            try:
                entries = [self._entry(item, resource) for item in self._objects(resource)]
            except ApiError as error:
                if error.status in (404, 405):
                    continue  # announced, yet not there: a definition that is just being removed
                refused += 1
                self._telling.lost(f"{resource.full_name} of namespace {self.namespace}: {error}", self.path)
                continue
            if entries:
                found[resource.full_name.encode()] = sorted(entries, key=lambda entry: entry.name)
        if refused and refused == len(resources):
            raise SourceError(
                f"nothing of namespace {self.namespace} can be listed: see the errors above", targets=[self.path]
            )
        path = self.path.encode()
        kinds = [Entry(name, made_folder(self.made_ns), made=True) for name in sorted(found)]
        yield Folder(path, kinds)
        for name in sorted(found):
            yield Folder(path + b"/" + name, found[name])

    def _objects(self, resource: Resource) -> Iterator[Fields]:
        for item in self._cluster.list(object_path(resource.api_version, self.namespace, resource.plural)):
            if LABEL not in (item["metadata"].get("labels") or {}):  # our own helpers
                yield item

    def _entry(self, item: Fields, resource: Resource) -> Entry:
        name = str(item["metadata"].get("name", ""))
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise SourceError(f"the cluster names one of its {resource.full_name} {name!r}", targets=[self.path])
        content = self._render({"apiVersion": resource.api_version, "kind": resource.kind, **item})
        status = MadeStat(_FILE, _made_ns(item), len(content))

        def stream() -> BinaryIO:
            return BytesIO(content)

        return Entry(f"{name}.{self._form.value}".encode(), status, stream=stream, made=True)

    def _render(self, item: Fields) -> bytes:
        document = {key: value for key, value in item.items() if key != "status"}
        document["metadata"] = {key: value for key, value in item["metadata"].items() if key not in _NOISE}
        if self._form is Manifests.JSON:
            return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
        import yaml  # type: ignore[import-untyped]  # noqa: PLC0415  # quick to do without

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        text: str = yaml.dump(
            document, Dumper=dumper, sort_keys=True, allow_unicode=True, default_flow_style=False, width=1000
        )
        return text.encode()

    def _resources(self) -> list[Resource]:
        """All kinds with a namespace that can be listed, in the version that the server prefers."""
        versions = ["v1"]
        for group in self._cluster.get("/apis").get("groups") or ():
            versions.append(str(group["preferredVersion"]["groupVersion"]))
        found: dict[str, Resource] = {}
        for version in versions:
            group = version.rpartition("/")[0]
            if self._is_left_out(f"x.{group}") and group:
                continue
            try:
                listed = self._cluster.get(f"/api/{version}" if version == "v1" else f"/apis/{version}")
            except ApiError as error:
                if error.status != 404:
                    self._telling.lost(f"what there is of {version} cannot be listed: {error}", self.path)
                continue
            for item in listed.get("resources") or ():
                plural = str(item["name"])
                full_name = f"{plural}.{group}" if group else plural
                if "/" in plural or not item.get("namespaced") or "list" not in (item.get("verbs") or ()):
                    continue
                if not self._is_left_out(full_name):
                    found[full_name] = Resource(full_name, version, plural, str(item["kind"]))
        return list(found.values())

    def _is_left_out(self, full_name: str) -> bool:
        return any(fnmatchcase(full_name, pattern) for pattern in self._without)


def _made_ns(item: Fields) -> int:
    """When the object was made: the same in every snapshot."""
    try:
        text = str(item["metadata"]["creationTimestamp"])
        return int(datetime.fromisoformat(text).timestamp()) * 10**9
    except (KeyError, ValueError):
        return 0

"""A container of a running pod, in which commands can be run, and which container has a claim mounted where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limpet.contracts.process import Tell

from limpet_source_kubernetes.api import Cluster
from limpet_source_kubernetes.remote import RemoteCommand

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Container:
    """One container, by its names."""

    cluster: Cluster
    namespace: str
    pod: str
    name: str

    def run(self, argv: Sequence[str], tell: Tell | None = None, *, has_input: bool = False) -> RemoteCommand:
        """Start a command; as `RemoteCommand`. What it complains about is told with the container's name."""

        def named(text: str) -> None:
            assert tell is not None
            tell(f"{self}: {text}")

        return RemoteCommand(
            self.cluster,
            self.namespace,
            self.pod,
            self.name,
            argv,
            tell=None if tell is None else named,
            has_input=has_input,
        )

    def __str__(self) -> str:
        return f"pod {self.namespace}/{self.pod}, container {self.name}"


def is_running(pod: Fields) -> bool:
    """Whether commands can be run in it."""
    gone = "deletionTimestamp" in pod["metadata"]
    return not gone and (pod.get("status") or {}).get("phase") == "Running"


def is_container_running(pod: Fields, name: str) -> bool:
    """Whether this one of its containers runs; yes where the pod does not say."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return all("running" in (status.get("state") or {}) for status in statuses if status.get("name") == name)


def volume_of_claim(pod: Fields, claim: str) -> str | None:
    """What the pod calls the volume that is the claim; None if it does not use it."""
    for volume in pod["spec"].get("volumes") or ():
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim:
            return str(volume["name"])
        if "ephemeral" in volume and f"{pod['metadata']['name']}-{volume['name']}" == claim:
            return str(volume["name"])
    return None


def mount_of_claim(pod: Fields, claim: str, only: str | None = None) -> tuple[str, str] | None:
    """The container, and the folder where it has all of the claim's volume, not just a folder of it; None if none."""
    volume = volume_of_claim(pod, claim)
    if volume is None:
        return None
    for container in pod["spec"].get("containers") or ():
        if only not in (None, container["name"]) or not is_container_running(pod, str(container["name"])):
            continue
        for mount in container.get("volumeMounts") or ():
            if mount.get("name") == volume and not mount.get("subPath") and not mount.get("subPathExpr"):
                return str(container["name"]), str(mount["mountPath"])
    return None

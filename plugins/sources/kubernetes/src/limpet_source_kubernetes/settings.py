"""The options of source and destination, as data and as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self, TypeVar

from limpet.contracts.options import Option, Options
from limpet.errors import UsageError

DAY_S = 24 * 3600

OPTIONS: Sequence[Option] = (
    Option("kubeconfig", "kubeconfig file; else $KUBECONFIG, ~/.kube/config, or the service account of our own pod"),
    Option("context", "context of the kubeconfig; else its current one"),
    Option(
        "method",
        "how volumes are read: `node` (the files on this machine, which is the node), `snapshot` (a CSI snapshot in a "
        "helper pod), `exec` (tar in the running pod), or `auto`, the first of them that can be had",
        default="auto",
    ),
    Option("container", "container of the pod in which tar runs; else the first that has the volume mounted"),
    Option("kubelet_root", "where the kubelet of this machine keeps volumes", default="/var/lib/kubelet"),
    Option("snapshot_class", "VolumeSnapshotClass; else the one of the claim's CSI driver"),
    Option("helper_image", "image of helper pods; needs sh, find, xargs, head, tar", default="debian:stable-slim"),
    Option("wait", "how long a snapshot or a helper pod may take to be ready", type="duration", default=600),
    Option("hooks", "run the commands that Velero's annotations of pods name", type="boolean", default=True),
    Option("manifests", "how manifests are written: `yaml` or `json`; `none` leaves them out", default="yaml"),
    Option(
        "without_resources",
        "resources that are no manifests, as PLURAL.GROUP, separated by commas; * stands for anything",
        default="events,events.events.k8s.io,leases.coordination.k8s.io,*.metrics.k8s.io",
    ),
    Option(
        "leftovers_after",
        "age at which what a run on another machine has left behind is removed",
        type="duration",
        default=DAY_S,
    ),
    Option("size", "size of the claim that --into makes where there is none", type="size"),
    Option("storage_class", "storage class of the claim that --into makes; else the cluster's default"),
    Option("access_mode", "access mode of the claim that --into makes", default="ReadWriteOnce"),
    Option("overwrite", "let --into restore into a claim that holds files", type="boolean", default=False),
)


class Method(Enum):
    """How the content of a volume is reached."""

    AUTO = "auto"
    NODE = "node"
    SNAPSHOT = "snapshot"
    EXEC = "exec"


class Manifests(Enum):
    """How manifests are written."""

    YAML = "yaml"
    JSON = "json"
    NONE = "none"


_E = TypeVar("_E", bound=Enum)


@dataclass(frozen=True, slots=True)
class Settings:
    """The options' values. Durations in seconds, sizes in bytes."""

    kubeconfig: str | None
    context: str | None
    method: Method
    container: str | None
    kubelet_root: str
    snapshot_class: str | None
    helper_image: str
    wait_s: float
    hooks: bool
    manifests: Manifests
    without_resources: Sequence[str]
    leftovers_after_s: float
    size_bytes: int | None
    storage_class: str | None
    access_mode: str
    overwrite: bool

    @classmethod
    def of(cls, options: Options) -> Self:
        """The values given, else the defaults; UsageError for a word that an option does not know."""
        given = {option.name: options.get(option.name, option.default) for option in OPTIONS}

        def text(name: str) -> str | None:
            return str(given[name]) if given[name] not in (None, "") else None

        size = given["size"]
        return cls(
            text("kubeconfig"),
            text("context"),
            _word(Method, "method", given["method"]),
            text("container"),
            text("kubelet_root") or "/var/lib/kubelet",
            text("snapshot_class"),
            text("helper_image") or "debian:stable-slim",
            float(given["wait"] or 0),
            bool(given["hooks"]),
            _word(Manifests, "manifests", given["manifests"]),
            [part.strip() for part in str(given["without_resources"] or "").split(",") if part.strip()],
            float(given["leftovers_after"] or 0),
            None if size is None else int(size),
            text("storage_class"),
            text("access_mode") or "ReadWriteOnce",
            bool(given["overwrite"]),
        )


def _word(kind: type[_E], name: str, given: object) -> _E:
    try:
        return kind(given)
    except ValueError as error:
        possible = ", ".join(str(one.value) for one in kind)
        raise UsageError(f"-o kubernetes.{name}={given}: not known (possible: {possible})") from error
